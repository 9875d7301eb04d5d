! Reads models "U tau a_min", one a line, from standard input; writes the spectrum or,
! with the argument "photometry", the bands of each in W/Hz/kg, a line per model.
! With the argument "single" the models are computed one by one. With "estimate" each line
! holds the emission in all bands and then its errors, and the parameters are estimated.
program example
  use, intrinsic :: iso_fortran_env, only: error_unit
  use @MODULE@
  implicit none
  type(emulator) :: emu
  integer, parameter :: most = 100000
  real(dp), allocatable :: u(:), tau(:), a_min(:), lnu(:, :)
  integer :: status, n, k
  character(200) :: message, what, how
  call load(emu, '@FILE@', status, message)
  if (status /= 0) then
    write (*, '(a)') trim(message)
    error stop 1
  end if
  what = 'spectrum'
  how = 'batch'
  if (command_argument_count() > 0) call get_command_argument(1, what)
  if (command_argument_count() > 1) call get_command_argument(2, how)
  if (what == 'estimate') then
    call estimates
    stop
  end if
  allocate (u(most), tau(most), a_min(most))
  n = 0
  do while (n < most)
    read (*, *, iostat=status) u(n + 1), tau(n + 1), a_min(n + 1)
    if (status /= 0) exit
    n = n + 1
  end do
  if (.not. is_iostat_end(status)) then
    write (error_unit, '(a, i0, a, i0, a)') 'Line ', n + 1, ' is no model "U tau a_min", or &
      &there are more than ', most, ' lines.'
    error stop 1
  end if
  if (what == 'photometry') then
    allocate (lnu(nband, n))
    if (how == 'single') then
      do k = 1, n
        lnu(:, k) = photometry(emu, u(k), tau(k), a_min(k))
      end do
    else
      lnu = photometry(emu, u(:n), tau(:n), a_min(:n))
    end if
  else
    allocate (lnu(nwave, n))
    if (how == 'single') then
      do k = 1, n
        lnu(:, k) = spectrum(emu, u(k), tau(k), a_min(k))
      end do
    else
      lnu = spectrum(emu, u(:n), tau(:n), a_min(:n))
    end if
  end if
  do k = 1, n
    write (*, '(*(es25.16e3))') lnu(:, k)
  end do

contains

  subroutine estimates
    real(dp) :: bands(nband), error(nband), mean(3), sigma(3)
    do
      read (*, *, iostat=status) bands, error
      if (status /= 0) exit
      call estimate(emu, bands, error, mean, sigma)
      write (*, '(6(es25.16e3))') mean, sigma
    end do
  end subroutine estimates

end program example
