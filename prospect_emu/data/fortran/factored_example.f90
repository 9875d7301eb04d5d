  type(redshift) :: here
!@contains
  case ('prepared')
    call prepare(emu, theta(i_zred, 1), here, status, message)
    if (status /= 0) call fail()
    flux = maggies(emu, here, theta(:, :n))
    f = mfrac(emu, theta(:, :n))
  case ('spectrum')
    do k = 1, n
      write (*, '(*(es25.16e3))') spectrum(emu, theta(:, k))
    end do
    n = 0  ! no photometry
