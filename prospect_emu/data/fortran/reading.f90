  subroutine read_vector(unit, v)
    integer, intent(in) :: unit
    real(dp), allocatable, intent(out) :: v(:)
    integer(int32) :: n
    read (unit) n
    allocate (v(n))
    read (unit) v
  end subroutine read_vector

  ! Opens the file of weights, compares its first words with what this module expects and the
  ! rest with its checksum: whatever is read afterwards is there and is right.
  subroutine open_weights(path, unit, status, message)
    character(*), intent(in) :: path
    integer, intent(out) :: unit, status
    character(*), intent(out) :: message
    integer(int32) :: head(4), words(1024)
    integer(int64) :: i, k, total
    message = ''
    open (newunit=unit, file=path, access='stream', form='unformatted', &
          status='old', action='read', iostat=status)
    if (status /= 0) then
      message = 'Cannot open '//path//'; it must lie where the path says.'
      return
    end if
    read (unit, iostat=status) head
    if (status == 0 .and. any(head(:3) /= [int(magic, int32), int(kind_id, int32), &
                                           int(stamp, int32)])) status = 1
    if (status /= 0) then
      message = path//' does not belong to this module, or this machine orders bytes otherwise.'
      close (unit)
      return
    end if
    total = 0
    do i = 0, head(4) - 1, size(words)
      associate (n => min(int(size(words), int64), head(4) - i))
        read (unit, iostat=status) words(:n)
        if (status /= 0) exit
        do k = 1, n
          total = modulo(total + (i + k) * words(k), 2147483647_int64)
        end do
      end associate
    end do
    if (status == 0 .and. total /= stamp) status = 1
    if (status /= 0) then
      message = path//' is truncated or damaged; export the emulator again.'
      close (unit)
      return
    end if
    rewind (unit)
    read (unit) head
  end subroutine open_weights
