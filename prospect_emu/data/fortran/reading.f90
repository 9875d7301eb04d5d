  subroutine read_vector(unit, v, status)
    integer, intent(in) :: unit
    real(dp), allocatable, intent(out) :: v(:)
    integer, intent(out) :: status
    integer(int32) :: n
    allocate (v(0))
    read (unit, iostat=status) n
    if (status /= 0) return
    if (n < 0 .or. n > 100000000) then
      status = 1
      return
    end if
    deallocate (v)
    allocate (v(n))
    read (unit, iostat=status) v
  end subroutine read_vector

  ! Opens the file of weights and compares its first words with what this module expects.
  subroutine open_weights(path, unit, status, message)
    character(*), intent(in) :: path
    integer, intent(out) :: unit, status
    character(*), intent(out) :: message
    integer(int32) :: words(3)
    message = ''
    open (newunit=unit, file=path, access='stream', form='unformatted', &
          status='old', action='read', iostat=status)
    if (status /= 0) then
      message = 'Cannot open '//path//'; it must lie where the path says.'
      return
    end if
    read (unit, iostat=status) words
    if (status == 0 .and. any(words /= [int(magic, int32), int(kind_id, int32), &
                                        int(stamp, int32)])) status = 1
    if (status /= 0) then
      message = path//' does not belong to this module, or this machine orders bytes otherwise.'
      close (unit)
    end if
  end subroutine open_weights
