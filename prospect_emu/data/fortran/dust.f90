! Dust emulator @NAME@, written by prospect-emu export --fortran.
! Weights: @FILE@ (SHA-256 of the emulator @SHA@).
!
!   type(emulator) :: emu
!   call load(emu, '@FILE@', status, message)
!   lnu = spectrum(emu, u, tau, a_min)      ! W/Hz/kg at emu%wavelength (micron)
!   lnu = photometry(emu, u, tau, a_min)    ! W/Hz/kg in the bands band_names
!   call estimate(emu, lnu, error, mean, sigma)  ! log10 of u, tau/yr, a_min/nm
!
! u, tau (yr) and a_min (nm) are scalars, or arrays (n): then the result is
! (nwave, n) or (nband, n). The result is NaN outside the training box, before load, and
! where the arrays differ in length.
!
! estimate is the inverse network, a first look: lnu and error are (nband), or (nband, n), in
! W/Hz/kg; bands that are not positive, faint, or known worse than to 30 %, are left out. It gives
! NaN where no band is left, where the data are three times off the model that it finds, and
! where the emulator came without an inverse network. It reads bands, not spectra.
module @MODULE@
  use, intrinsic :: iso_fortran_env, only: dp => real64, sp => real32, int32, int64
  use, intrinsic :: ieee_arithmetic, only: ieee_value, ieee_quiet_nan
  implicit none
  private
  public :: emulator, load, spectrum, photometry, estimate, inside, nwave, nband, band_names, dp

  integer, parameter :: nwave = @NWAVE@, nband = @NBAND@
  integer, parameter :: magic = 1347769681, kind_id = 1, stamp = @STAMP@
  character(24), parameter :: band_names(nband) = [character(24) :: &
@BANDS@]

  ! Fractional errors that the inverse network knows.
  real(dp), parameter :: error_low = @ERROR_LOW@_dp, error_high = @ERROR_HIGH@_dp
  ! Bands this much fainter than the brightest are left out.
  real(dp), parameter :: faintest = @FAINTEST@_dp
  ! Logarithms of sigma over the prior's that it was scored for; data like no model.
  real(dp), parameter :: log_sigma(2) = [@LOG_SIGMA@], misfit = @MISFIT@_dp

  ! Functions of one parameter each, multiplied and mixed linearly.
  type :: tensor
    real(dp), allocatable :: nodes1(:), nodes2(:), nodes3(:)
    real(dp), allocatable :: first(:, :, :), third(:, :, :)  ! (function, cell, power)
    real(dp), allocatable :: second(:, :)                    ! (function, node)
    integer, allocatable :: pairs(:, :)                      ! (2, pair)
    real(dp), allocatable :: core(:, :, :)                   ! (vector, second, pair)
    real(dp), allocatable :: vectors(:, :)                   ! (output, vector)
    real(dp), allocatable :: mean(:)
  end type tensor

@NETWORK_TYPES@
  type :: emulator
    real(dp), allocatable :: wavelength(:)       ! micron
    real(dp), allocatable :: band_wavelength(:)  ! micron
    real(dp) :: low(3) = 0.0_dp, high(3) = 0.0_dp  ! log10 of U, tau/yr, a_min/nm
    type(tensor), private :: net
    type(network), private :: back  ! the inverse; without layers where there is none
  end type emulator

  interface spectrum
    module procedure spectrum_one, spectrum_many
  end interface spectrum

  interface photometry
    module procedure photometry_one, photometry_many
  end interface photometry

  interface estimate
    module procedure estimate_one, estimate_many
  end interface estimate

contains

  subroutine load(emu, path, status, message)
    type(emulator), intent(out) :: emu
    character(*), intent(in) :: path
    integer, intent(out) :: status
    character(*), intent(out) :: message
    real(dp), allocatable :: box(:), first(:), second(:), third(:), pairs(:), core(:), vectors(:)
    integer :: unit, n1, n2, n3, r1, r2, r3, rank
    call open_weights(path, unit, status, message)
    if (status /= 0) return
    call read_vector(unit, box)
    call read_vector(unit, emu%wavelength)
    call read_vector(unit, emu%band_wavelength)
    call read_vector(unit, emu%net%nodes1)
    call read_vector(unit, emu%net%nodes2)
    call read_vector(unit, emu%net%nodes3)
    call read_vector(unit, first)
    call read_vector(unit, second)
    call read_vector(unit, third)
    call read_vector(unit, pairs)
    call read_vector(unit, core)
    call read_vector(unit, vectors)
    call read_vector(unit, emu%net%mean)
    call read_network(unit, emu%back)
    close (unit)
    emu%low = box(1:3)
    emu%high = box(4:6)
    n1 = size(emu%net%nodes1)
    n2 = size(emu%net%nodes2)
    n3 = size(emu%net%nodes3)
    r1 = size(first) / (4 * (n1 - 1))
    r2 = size(second) / n2
    r3 = size(third) / (4 * (n3 - 1))
    rank = size(vectors) / size(emu%net%mean)
    emu%net%first = reshape(first, [r1, n1 - 1, 4])
    emu%net%second = reshape(second, [r2, n2])
    emu%net%third = reshape(third, [r3, n3 - 1, 4])
    emu%net%pairs = reshape(nint(pairs) + 1, [2, size(pairs) / 2])
    emu%net%core = reshape(core, [rank, r2, size(pairs) / 2])
    emu%net%vectors = reshape(vectors, [size(emu%net%mean), rank])
  end subroutine load

  ! Whether parameters lie in the training box.
  elemental function inside(emu, u, tau, a_min) result(ok)
    type(emulator), intent(in) :: emu
    real(dp), intent(in) :: u, tau, a_min
    logical :: ok
    real(dp) :: t(3)
    ok = allocated(emu%wavelength) .and. u > 0.0_dp .and. tau > 0.0_dp .and. a_min > 0.0_dp
    if (.not. ok) return
    t = log10([u, tau, a_min])
    ok = all(t >= emu%low - 1.0e-9_dp .and. t <= emu%high + 1.0e-9_dp)
  end function inside

  pure function spectrum_one(emu, u, tau, a_min) result(lnu)
    type(emulator), intent(in) :: emu
    real(dp), intent(in) :: u, tau, a_min
    real(dp) :: lnu(nwave)
    lnu = reshape(emission(emu, [u], [tau], [a_min], 1, nwave), [nwave])
  end function spectrum_one

  pure function spectrum_many(emu, u, tau, a_min) result(lnu)
    type(emulator), intent(in) :: emu
    real(dp), intent(in) :: u(:), tau(:), a_min(:)
    real(dp) :: lnu(nwave, size(u))
    lnu = emission(emu, u, tau, a_min, 1, nwave)
  end function spectrum_many

  pure function photometry_one(emu, u, tau, a_min) result(lnu)
    type(emulator), intent(in) :: emu
    real(dp), intent(in) :: u, tau, a_min
    real(dp) :: lnu(nband)
    lnu = reshape(emission(emu, [u], [tau], [a_min], nwave + 1, nwave + nband), [nband])
  end function photometry_one

  pure function photometry_many(emu, u, tau, a_min) result(lnu)
    type(emulator), intent(in) :: emu
    real(dp), intent(in) :: u(:), tau(:), a_min(:)
    real(dp) :: lnu(nband, size(u))
    lnu = emission(emu, u, tau, a_min, nwave + 1, nwave + nband)
  end function photometry_many

  pure function emission(emu, u, tau, a_min, first, last) result(lnu)
    type(emulator), intent(in) :: emu
    real(dp), intent(in) :: u(:), tau(:), a_min(:)
    integer, intent(in) :: first, last
    real(dp) :: lnu(last - first + 1, size(u))
    real(dp), allocatable :: mixed(:, :)
    integer :: k
    if (.not. allocated(emu%wavelength) .or. size(tau) /= size(u) .or. size(a_min) /= size(u)) then
      lnu = ieee_value(1.0_dp, ieee_quiet_nan)
      return
    end if
    allocate (mixed(size(emu%net%vectors, 2), size(u)))
    do k = 1, size(u)
      mixed(:, k) = 0.0_dp
      if (inside(emu, u(k), tau(k), a_min(k))) &
        mixed(:, k) = mix(emu%net, log10(u(k)), log10(tau(k)), log10(a_min(k)))
    end do
    lnu = matmul(emu%net%vectors(first:last, :), mixed)
    do k = 1, size(u)
      if (inside(emu, u(k), tau(k), a_min(k))) then
        lnu(:, k) = u(k) * exp(lnu(:, k) + emu%net%mean(first:last))
      else
        lnu(:, k) = ieee_value(1.0_dp, ieee_quiet_nan)
      end if
    end do
  end function emission

  ! Weights of the network's vectors at log10 parameters.
  pure function mix(net, x, y, z) result(w)
    type(tensor), intent(in) :: net
    real(dp), intent(in) :: x, y, z
    real(dp) :: w(size(net%vectors, 2))
    real(dp) :: f(size(net%first, 1)), g(size(net%second, 1)), h(size(net%third, 1)), t
    integer :: i, j, n
    f = spline(net%nodes1, net%first, x)
    h = spline(net%nodes3, net%third, z)
    n = size(net%nodes2)
    i = max(1, min(count(net%nodes2 <= y), n - 1))
    t = (y - net%nodes2(i)) / (net%nodes2(i + 1) - net%nodes2(i))
    t = max(0.0_dp, min(1.0_dp, t))
    g = (1.0_dp - t) * net%second(:, i) + t * net%second(:, i + 1)
    w = 0.0_dp
    do i = 1, size(net%pairs, 2)
      t = f(net%pairs(1, i)) * h(net%pairs(2, i))
      do j = 1, size(g)
        w = w + (t * g(j)) * net%core(:, j, i)
      end do
    end do
  end function mix

  ! Cubic splines on uniform nodes: coefficients (function, cell, power), highest first.
  pure function spline(nodes, c, x) result(y)
    real(dp), intent(in) :: nodes(:), c(:, :, :), x
    real(dp) :: y(size(c, 1)), u
    integer :: i, n
    n = size(nodes)
    i = int((x - nodes(1)) / ((nodes(n) - nodes(1)) / real(n - 1, dp))) + 1
    i = max(1, min(i, n - 1))
    u = x - nodes(i)
    y = ((c(:, i, 1) * u + c(:, i, 2)) * u + c(:, i, 3)) * u + c(:, i, 4)
  end function spline

  pure subroutine estimate_one(emu, lnu, error, mean, sigma)
    type(emulator), intent(in) :: emu
    real(dp), intent(in) :: lnu(:), error(:)
    real(dp), intent(out) :: mean(3), sigma(3)
    real(dp) :: x(2 * nband + 1, 1), out(6, 1), shape(nband), model(nband), average
    real(dp) :: theta(3), spread(3)
    logical :: used(nband)
    mean = ieee_value(1.0_dp, ieee_quiet_nan)
    sigma = mean
    if (.not. allocated(emu%back%layers) .or. size(lnu) /= nband .or. size(error) /= nband) return
    if (size(emu%back%layers) == 0) return
    used = lnu > 0.0_dp .and. error >= 0.0_dp .and. error <= error_high * lnu
    if (.not. any(used)) return
    used = used .and. lnu >= faintest * maxval(lnu, mask=used)
    ! Colours, how well each is known, and brightness, at an intensity in the middle of the box.
    shape = 0.0_dp
    where (used) shape = log(lnu) - emu%net%mean(nwave + 1:) &
                         - log(10.0_dp) * 0.5_dp * (emu%low(1) + emu%high(1))
    average = sum(shape) / count(used)
    x = 0.0_dp
    where (used)
      x(:nband, 1) = 0.5_dp * (shape - average)
      x(nband + 1:2 * nband, 1) = 0.5_dp + log(max(error / lnu, error_low) / error_high) &
                                  / log(error_low / error_high)
    end where
    x(2 * nband + 1, 1) = average / 6.0_dp
    out = apply(emu%back, x, 1, 6)
    theta = max(emu%low, min(emu%high, out(:3, 1)))
    shape = 0.0_dp
    model = photometry_one(emu, 10.0_dp**theta(1), 10.0_dp**theta(2), 10.0_dp**theta(3))
    where (used) shape = abs(log(lnu / model))
    if (.not. sum(shape) <= log(misfit) * count(used)) return
    mean = theta
    spread = log((emu%high - emu%low) / sqrt(12.0_dp))
    sigma = exp(max(log_sigma(1), min(log_sigma(2), out(4:, 1) - spread)) + spread)
  end subroutine estimate_one

  pure subroutine estimate_many(emu, lnu, error, mean, sigma)
    type(emulator), intent(in) :: emu
    real(dp), intent(in) :: lnu(:, :), error(:, :)
    real(dp), intent(out) :: mean(:, :), sigma(:, :)  ! (3, n)
    integer :: k
    mean = ieee_value(1.0_dp, ieee_quiet_nan)
    sigma = mean
    if (any(shape(error) /= shape(lnu)) .or. any(shape(mean) /= [3, size(lnu, 2)])) return
    if (any(shape(sigma) /= shape(mean))) return
    do k = 1, size(lnu, 2)
      call estimate_one(emu, lnu(:, k), error(:, k), mean(:, k), sigma(:, k))
    end do
  end subroutine estimate_many

@NETWORK_PROCEDURES@
@READ_PROCEDURES@
end module @MODULE@
