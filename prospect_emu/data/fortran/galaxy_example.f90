! Reads parameter vectors, one a line, from standard input; writes the maggies of each
! and its surviving mass fraction, a line per galaxy. With the argument "single" the
! galaxies are computed one by one@HOW@.
program example
  use, intrinsic :: iso_fortran_env, only: error_unit
  use @MODULE@
  implicit none
  type(emulator) :: emu
  integer, parameter :: most = 100000
  real(dp), allocatable :: theta(:, :), flux(:, :), f(:)
  integer :: status, n, k
  character(200) :: message, how
@MORE_DECLARATIONS@  call load(emu, '@FILE@', status, message)
  if (status /= 0) call fail()
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
  select case (how)
  case ('single')
    do k = 1, n
      flux(:, k) = maggies(emu, theta(:, k))
      f(k) = mfrac(emu, theta(:, k))
    end do
@MORE_CASES@  case default
    flux = maggies(emu, theta(:, :n))
    f = mfrac(emu, theta(:, :n))
  end select
  do k = 1, n
    call check(emu, theta(:, k), status, message)
    if (status /= 0) write (error_unit, '(a, i0, 2a)') 'galaxy ', k, ': ', trim(message)
    write (*, '(*(es25.16e3))') flux(:, k), f(k)
  end do
contains
  subroutine fail()
    write (*, '(a)') trim(message)
    error stop 1
  end subroutine fail
end program example
