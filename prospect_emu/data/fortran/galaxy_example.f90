! Reads parameter vectors, one a line, from standard input; writes the maggies of each
! and its surviving mass fraction, a line per galaxy. With the argument "single" the
! galaxies are computed one by one.
program example
  use @MODULE@
  implicit none
  type(emulator) :: emu
  integer, parameter :: most = 100000
  real(dp), allocatable :: theta(:, :), flux(:, :), f(:)
  integer :: status, n, k
  character(200) :: message, how
  call load(emu, '@FILE@', status, message)
  if (status /= 0) then
    write (*, '(a)') trim(message)
    error stop 1
  end if
  how = 'batch'
  if (command_argument_count() > 0) call get_command_argument(1, how)
  allocate (theta(nparam, most))
  n = 0
  do while (n < most)
    read (*, *, iostat=status) theta(:, n + 1)
    if (status /= 0) exit
    n = n + 1
  end do
  allocate (flux(nband, n), f(n))
  if (how == 'single') then
    do k = 1, n
      flux(:, k) = maggies(emu, theta(:, k))
      f(k) = mfrac(emu, theta(:, k))
    end do
  else
    flux = maggies(emu, theta(:, :n))
    f = mfrac(emu, theta(:, :n))
  end if
  do k = 1, n
    write (*, '(*(es24.16))') flux(:, k), f(k)
  end do
end program example
