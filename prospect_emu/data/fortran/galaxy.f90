! Galaxy emulator @NAME@, written by prospect-emu export --fortran.
! Weights: @FILE@ (SHA-256 of the emulator @SHA@).
!
!   type(emulator) :: emu
!   call load(emu, '@FILE@', status, message)
!   flux = maggies(emu, theta)   ! apparent maggies in the bands band_names
!   f = mfrac(emu, theta)        ! surviving mass fraction
!
! theta holds the parameters parameter_names of one galaxy (nparam), or of n
! (nparam, n): then the results are (nband, n) and (n). Outside the training box
! they are NaN.
module @MODULE@
  use, intrinsic :: iso_fortran_env, only: dp => real64, sp => real32, int32
  use, intrinsic :: ieee_arithmetic, only: ieee_value, ieee_quiet_nan
  implicit none
  private
  public :: emulator, load, maggies, mfrac, inside, nparam, nband, parameter_names, band_names, dp

  integer, parameter :: nparam = @NPARAM@, nband = @NBAND@, nbin = 7
  integer, parameter :: i_zred = @IZRED@, i_logzsol = @ILOGZSOL@, i_ratio = @IRATIO@
  integer, parameter :: magic = 1347769681, kind_id = 2, stamp = @STAMP@
  integer, parameter :: block = 256
  ! The network predicts a galaxy of this mass formed at this distance.
  real(dp), parameter :: reference_logmass = 12.5_dp, reference_mpc = 1000.0_dp
  real(dp), parameter :: u0 = 35.0_dp
  character(32), parameter :: parameter_names(nparam) = [character(32) :: &
@PARAMETERS@]
  character(32), parameter :: band_names(nband) = [character(32) :: &
@BANDS@]

@NETWORK_TYPES@
  type :: emulator
    real(dp), allocatable :: low(:), high(:)
    real(dp), allocatable, private :: node(:), age(:, :), distance(:, :)
    type(network), private :: flux, surviving
  end type emulator

  interface maggies
    module procedure maggies_one, maggies_many
  end interface maggies

  interface mfrac
    module procedure mfrac_one, mfrac_many
  end interface mfrac

contains

  subroutine load(emu, path, status, message)
    type(emulator), intent(out) :: emu
    character(*), intent(in) :: path
    integer, intent(out) :: status
    character(*), intent(out) :: message
    real(dp), allocatable :: age(:), distance(:)
    integer :: unit
    call open_weights(path, unit, status, message)
    if (status /= 0) return
    call read_vector(unit, emu%low, status)
    if (status == 0) call read_vector(unit, emu%high, status)
    if (status == 0) call read_vector(unit, emu%node, status)
    if (status == 0) call read_vector(unit, age, status)
    if (status == 0) call read_vector(unit, distance, status)
    if (status == 0) call read_network(unit, emu%flux, status)
    if (status == 0) call read_network(unit, emu%surviving, status)
    close (unit)
    if (status /= 0) then
      message = path//' is truncated; export the emulator again.'
      return
    end if
    emu%age = reshape(age, [4, size(emu%node) - 1])
    emu%distance = reshape(distance, [4, size(emu%node) - 1])
  end subroutine load

  ! Whether a parameter vector lies in the training box.
  pure function inside(emu, theta) result(ok)
    type(emulator), intent(in) :: emu
    real(dp), intent(in) :: theta(nparam)
    logical :: ok
    real(dp) :: slack(nparam)
    slack = 1.0e-9_dp * (emu%high - emu%low)
    ok = all(theta >= emu%low - slack .and. theta <= emu%high + slack)
  end function inside

  pure function maggies_one(emu, theta) result(flux)
    type(emulator), intent(in) :: emu
    real(dp), intent(in) :: theta(nparam)
    real(dp) :: flux(nband)
    flux = reshape(maggies_many(emu, reshape(theta, [nparam, 1])), [nband])
  end function maggies_one

  pure function maggies_many(emu, theta) result(flux)
    type(emulator), intent(in) :: emu
    real(dp), intent(in) :: theta(:, :)
    real(dp) :: flux(nband, size(theta, 2))
    real(dp) :: z, a
    integer :: k, start, last
    a = 2.5_dp * log10(exp(1.0_dp))
    do start = 1, size(theta, 2), block
      last = min(start + block - 1, size(theta, 2))
      flux(:, start:last) = apply(emu%flux, theta(2:, start:last), 1, nband)
      do k = start, last
        if (inside(emu, theta(:, k))) then
          z = theta(i_zred, k)
          flux(:, k) = max(0.0_dp, 2.0_dp * exp(-u0 / a) * sinh((u0 - flux(:, k)) / a)) &
                       * 10.0_dp**(theta(1, k) - reference_logmass) * (1.0_dp + z) &
                       * (reference_mpc / (z * exp(spline(emu%node, emu%distance, z))))**2
        else
          flux(:, k) = ieee_value(1.0_dp, ieee_quiet_nan)
        end if
      end do
    end do
  end function maggies_many

  pure function mfrac_one(emu, theta) result(f)
    type(emulator), intent(in) :: emu
    real(dp), intent(in) :: theta(nparam)
    real(dp) :: f, per_bin(nbin, 1), share(nbin)
    if (.not. inside(emu, theta)) then
      f = ieee_value(1.0_dp, ieee_quiet_nan)
      return
    end if
    per_bin = apply(emu%surviving, reshape(theta([i_logzsol, i_zred]), [2, 1]), 1, nbin)
    share = shares(emu, theta(i_ratio:i_ratio + nbin - 2), theta(i_zred))
    f = dot_product(per_bin(:, 1), share)
  end function mfrac_one

  pure function mfrac_many(emu, theta) result(f)
    type(emulator), intent(in) :: emu
    real(dp), intent(in) :: theta(:, :)
    real(dp) :: f(size(theta, 2))
    integer :: k
    do k = 1, size(theta, 2)
      f(k) = mfrac_one(emu, theta(:, k))
    end do
  end function mfrac_many

  ! Share of the mass formed in each age bin, youngest first.
  pure function shares(emu, ratio, z) result(share)
    type(emulator), intent(in) :: emu
    real(dp), intent(in) :: ratio(nbin - 1), z
    real(dp) :: share(nbin), t, edge(0:nbin), log_sfr(nbin)
    integer :: i
    t = exp(spline(emu%node, emu%age, z))
    edge(0) = 0.0_dp
    edge(1) = log10(3.0e7_dp)
    do i = 2, nbin - 1
      edge(i) = 8.0_dp + (log10(0.9_dp * t) - 8.0_dp) * real(i - 2, dp) / real(nbin - 3, dp)
    end do
    edge(nbin) = log10(t)
    log_sfr(1) = 0.0_dp
    do i = 2, nbin
      log_sfr(i) = log_sfr(i - 1) - ratio(i - 1)
    end do
    log_sfr = log_sfr - maxval(log_sfr)
    share = (10.0_dp**edge(1:) - 10.0_dp**edge(:nbin - 1)) * 10.0_dp**log_sfr
    share = share / sum(share)
  end function shares

  ! A cubic spline in ln(1 + z): coefficients (4, cell), highest power first.
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

@NETWORK_PROCEDURES@
@READ_PROCEDURES@
end module @MODULE@
