  integer, parameter :: nparam = @NPARAM@, nband = @NBAND@, nbin = 7
  integer, parameter :: magic = @MAGIC@, kind_id = @KIND@, stamp = @STAMP@
  ! Where each parameter stands in theta.
  integer, parameter, public :: &
@INDICES@
  character(32), parameter :: parameter_names(nparam) = [character(32) :: &
@PARAMETERS@]
  character(32), parameter :: band_names(nband) = [character(32) :: &
@BANDS@]

  ! Cubic splines of ln(age / yr) and ln(D_L / Mpc / z) in ln(1 + z): coefficients
  ! (4, cell), highest power first.
  type :: cosmology
    real(dp), allocatable :: node(:), age(:, :), distance(:, :)
  end type cosmology
!@contains
  ! Whether a parameter vector lies in the training box (and has the right length, and the
  ! emulator is loaded).
  pure function inside(emu, theta) result(ok)
    type(emulator), intent(in) :: emu
    real(dp), intent(in) :: theta(:)
    logical :: ok
    real(dp) :: slack(nparam)
    ok = .false.
    if (.not. allocated(emu%low) .or. size(theta) /= nparam) return
    slack = 1.0e-9_dp * (emu%high - emu%low)
    ok = all(theta >= emu%low - slack .and. theta <= emu%high + slack)
  end function inside

  ! Why a parameter vector is not inside: status is 0 where it is.
  subroutine check(emu, theta, status, message)
    type(emulator), intent(in) :: emu
    real(dp), intent(in) :: theta(:)
    integer, intent(out) :: status
    character(*), intent(out) :: message
    character(200) :: text
    real(dp) :: slack
    integer :: i
    status = 1
    message = ''
    if (.not. allocated(emu%low)) then
      message = 'The emulator holds no weights; call load first.'
    else if (size(theta) /= nparam) then
      write (text, '(a, i0, a, i0, a)') 'A parameter vector has ', nparam, ' values; got ', &
        size(theta), '.'
      message = text
    else
      do i = 1, nparam
        slack = 1.0e-9_dp * (emu%high(i) - emu%low(i))
        if (theta(i) >= emu%low(i) - slack .and. theta(i) <= emu%high(i) + slack) cycle
        write (text, '(2a, g0.6, a, g0.6, a, g0.6, a)') trim(parameter_names(i)), ' = ', &
          theta(i), ' lies outside the training box [', emu%low(i), ', ', emu%high(i), '].'
        message = text
        return
      end do
      status = 0
    end if
  end subroutine check

  subroutine read_cosmology(unit, sky)
    integer, intent(in) :: unit
    type(cosmology), intent(out) :: sky
    real(dp), allocatable :: flat(:)
    call read_vector(unit, sky%node)
    call read_vector(unit, flat)
    sky%age = reshape(flat, [4, size(sky%node) - 1])
    call read_vector(unit, flat)
    sky%distance = reshape(flat, [4, size(sky%node) - 1])
  end subroutine read_cosmology

  ! Luminosity distance in Mpc.
  pure function luminosity_distance(sky, z) result(d)
    type(cosmology), intent(in) :: sky
    real(dp), intent(in) :: z
    real(dp) :: d
    d = z * exp(spline(sky%node, sky%distance, z))
  end function luminosity_distance

  ! Edges of the age bins in log10(yr), youngest first.
  pure function bin_edges(sky, z) result(edge)
    type(cosmology), intent(in) :: sky
    real(dp), intent(in) :: z
    real(dp) :: edge(0:nbin), t
    integer :: i
    t = exp(spline(sky%node, sky%age, z))
    edge(0) = 0.0_dp
    edge(1) = log10(3.0e7_dp)
    do i = 2, nbin - 1
      edge(i) = 8.0_dp + (log10(0.9_dp * t) - 8.0_dp) * real(i - 2, dp) / real(nbin - 3, dp)
    end do
    edge(nbin) = log10(t)
  end function bin_edges

  ! Share of the mass formed in each age bin, youngest first.
  pure function shares(sky, theta) result(share)
    type(cosmology), intent(in) :: sky
    real(dp), intent(in) :: theta(nparam)
    real(dp) :: share(nbin), edge(0:nbin), log_sfr(nbin)
    integer :: i
    edge = bin_edges(sky, theta(i_zred))
    log_sfr(1) = 0.0_dp
    do i = 2, nbin
      log_sfr(i) = log_sfr(i - 1) - theta(i_logsfr_ratios_1 + i - 2)
    end do
    log_sfr = log_sfr - maxval(log_sfr)
    share = (10.0_dp**edge(1:) - 10.0_dp**edge(:nbin - 1)) * 10.0_dp**log_sfr
    share = share / sum(share)
  end function shares

  pure function spline(node, c, z) result(y)
    real(dp), intent(in) :: node(:), c(:, :), z
    real(dp) :: y, x
    integer :: i
    x = log(1.0_dp + z)
    i = int((x - node(1)) / (node(2) - node(1))) + 1
    i = max(1, min(i, size(c, 2)))
    if (x < node(i) .and. i > 1) i = i - 1
    x = x - node(i)
    y = ((c(1, i) * x + c(2, i)) * x + c(3, i)) * x + c(4, i)
  end function spline

  pure function maggies_one(emu, theta) result(flux)
    type(emulator), intent(in) :: emu
    real(dp), intent(in) :: theta(:)
    real(dp) :: flux(nband)
    flux = reshape(maggies_many(emu, reshape(theta, [size(theta), 1])), [nband])
  end function maggies_one

  pure function mfrac_many(emu, theta) result(f)
    type(emulator), intent(in) :: emu
    real(dp), intent(in) :: theta(:, :)
    real(dp) :: f(size(theta, 2))
    integer :: k
    do k = 1, size(theta, 2)
      f(k) = mfrac_one(emu, theta(:, k))
    end do
  end function mfrac_many

  pure function nan() result(x)
    real(dp) :: x
    x = ieee_value(1.0_dp, ieee_quiet_nan)
  end function nan
