! Factored emulator @NAME@, written by prospect-emu export --fortran.
! Ingredients: @FILE@ (SHA-256 of the emulator @SHA@).
!
!   type(emulator) :: emu
!   call load(emu, '@FILE@', status, message)
!   flux = maggies(emu, theta)   ! apparent maggies in the bands band_names
!   f = mfrac(emu, theta)        ! surviving mass fraction
!   lnu = spectrum(emu, theta)   ! Lsun/Hz at emu%wavelength (Angstrom, rest frame)
!
! theta holds the parameters parameter_names of one galaxy (nparam), or of n
! (nparam, n): then the results are (nband, n), (n) and (nwave, n). Outside the
! training box they are NaN; call check(emu, theta, status, message) says why.
!
! Many galaxies at one redshift are faster once it is prepared (and NaN at another):
!
!   type(redshift) :: here
!   call prepare(emu, 1.1_dp, here, status, message)
!   flux = maggies(emu, here, theta)
module @MODULE@
  use, intrinsic :: iso_fortran_env, only: dp => real64, sp => real32, int32, int64
  use, intrinsic :: ieee_arithmetic, only: ieee_value, ieee_quiet_nan
  implicit none
  private
  public :: emulator, redshift, load, prepare, maggies, mfrac, spectrum, inside, check
  public :: nparam, nband, nwave, parameter_names, band_names, dp

@BOX_TYPES@
@SIZES@
  ! From an L_nu of lnu_unit Lsun/Hz at 10 pc to maggies, and the units of light in the file.
  real(dp), parameter :: lnu_unit = @LNU_UNIT@_dp, maggies_10pc = @MAGGIES_10PC@_dp
  ! The star formation rate turns at the outer edges of the age bins, this far inside them.
  real(dp), parameter :: edge_width = @EDGE@_dp

  type :: emulator
    real(dp), allocatable :: low(:), high(:)
    real(dp), allocatable :: wavelength(:)
    type(cosmology), private :: sky
    ! Axes: log10 of years and of metallicities, PAH fraction and U_min of the dust, optical
    ! depth of the torus.
    real(dp), allocatable, private :: log_age(:), logz(:), gas_logz(:), qpah(:), umin(:), tau(:)
    real(dp), allocatable, private :: lagrange(:, :)                   ! (node, power)
    real(dp), allocatable, private :: mass(:, :), log_lbol(:, :)       ! (age, metallicity)
    real(dp), allocatable, private :: photons(:, :)                    ! (age, metallicity)
    real(dp), allocatable, private :: hertz(:), extinction(:, :)       ! (wavelength, term)
    real(dp), allocatable, private :: igm_power(:), igm_depth(:, :)    ! (wavelength, term)
    ! Transmission curves end to end: ln(lambda), transmission, its slope, and its integrals
    ! over ln(lambda) up to each node.
    real(dp), allocatable, private :: curve_x(:), curve_t(:), curve_slope(:)
    real(dp), allocatable, private :: curve_i0(:), curve_i1(:)
    integer, private :: curve_start(nband + 1) = 1
    real(sp), allocatable, private :: populations(:, :, :)  ! (wavelength, age, metallicity)
    real(sp), allocatable, private :: nebulae(:, :, :)      ! (wavelength, age, gas metallicity)
    real(sp), allocatable, private :: dust(:, :, :, :)      ! (wavelength, gamma, umin, qpah)
    real(sp), allocatable, private :: torus(:, :)           ! (wavelength, tau)
  end type emulator

  ! What depends on the redshift alone.
  type :: redshift
    real(dp) :: z = -1.0_dp
    real(dp), private :: unit = 0.0_dp                   ! maggies per Msun and lnu_unit
    real(dp), private :: ages(nage, nbin) = 0.0_dp       ! share of each population in a bin
    real(dp), private :: igm(nblue) = 1.0_dp             ! transmission
    integer, private :: first(nband) = 1, last(nband) = 0, start(nband) = 1
    real(dp), allocatable, private :: weight(:)          ! of wavelengths in bands
    ! Made by prepare. Stars: the young ones, then the old ones of each bin. Gas: around young
    ! stars, then around old ones.
    real(sp), allocatable, private :: stars(:, :, :)     ! (wavelength, 1 + bin, metallicity)
    real(sp), allocatable, private :: gas(:, :, :, :)    ! (wavelength, gas met., met., age)
  end type redshift

  interface maggies
    module procedure maggies_one, maggies_many, maggies_here_one, maggies_here_many
  end interface maggies

  interface mfrac
    module procedure mfrac_one, mfrac_many
  end interface mfrac

  interface spectrum
    module procedure spectrum_one, spectrum_many
  end interface spectrum

contains

  subroutine load(emu, path, status, message)
    type(emulator), intent(out) :: emu
    character(*), intent(in) :: path
    integer, intent(out) :: status
    character(*), intent(out) :: message
    real(dp), allocatable :: flat(:)
    integer :: unit
    call open_weights(path, unit, status, message)
    if (status /= 0) return
    call read_vector(unit, emu%low)
    call read_vector(unit, emu%high)
    call read_cosmology(unit, emu%sky)
    call read_vector(unit, emu%wavelength)
    call read_vector(unit, emu%log_age)
    call read_vector(unit, emu%logz)
    call read_vector(unit, emu%gas_logz)
    call read_vector(unit, emu%qpah)
    call read_vector(unit, emu%umin)
    call read_vector(unit, emu%tau)
    call read_vector(unit, flat)
    emu%lagrange = reshape(flat, [nnode, nnode])
    call read_vector(unit, flat)
    emu%mass = reshape(flat, [nage, nmetal])
    call read_vector(unit, flat)
    emu%log_lbol = reshape(flat, [nage, nmetal])
    call read_vector(unit, flat)
    emu%photons = reshape(flat, [nneb, nmetal])
    call read_vector(unit, emu%hertz)
    call read_vector(unit, flat)
    emu%extinction = reshape(flat, [nwave, 4])
    call read_vector(unit, emu%igm_power)
    call read_vector(unit, flat)
    emu%igm_depth = reshape(flat, [nblue, size(emu%igm_power)])
    call read_vector(unit, flat)
    emu%curve_start = nint(flat)
    call read_vector(unit, emu%curve_x)
    call read_vector(unit, emu%curve_t)
    call read_vector(unit, emu%curve_slope)
    call read_vector(unit, emu%curve_i0)
    call read_vector(unit, emu%curve_i1)
    allocate (emu%populations(nwave, nage, nmetal), emu%nebulae(nwave, nneb, ngas))
    allocate (emu%dust(nspan, 2, size(emu%umin), size(emu%qpah)))
    allocate (emu%torus(nwave, size(emu%tau)))
    read (unit) emu%populations, emu%nebulae, emu%dust, emu%torus
    close (unit)
  end subroutine load

  ! ---- what a redshift decides

  ! Integrates over the ages of the stars in each bin, once for many galaxies.
  subroutine prepare(emu, z, here, status, message)
    type(emulator), intent(in) :: emu
    real(dp), intent(in) :: z
    type(redshift), intent(out) :: here
    integer, intent(out) :: status
    character(*), intent(out) :: message
    real(dp) :: theta(nparam), photons(nneb)
    integer :: c, g, k
    ! The check is for the redshift alone.
    theta = 0.0_dp
    if (allocated(emu%low)) theta = emu%low
    theta(i_zred) = z
    call check(emu, theta, status, message)
    if (status /= 0) return
    here = at_redshift(emu, z)
    allocate (here%stars(nwave, nbin + 1, nmetal), here%gas(nwave, ngas, nmetal, 2))
    do c = 1, nmetal
      here%stars(:, 1, c) = real(mixed(nyoung, emu%populations(:, :, c), here%ages(:, 1)), sp)
      do k = 1, nbin
        here%stars(:, 1 + k, c) = real(mixed(nage - nyoung, &
          emu%populations(:, nyoung + 1:, c), here%ages(nyoung + 1:, k)), sp)
      end do
      ! Stars with nebulae are all in the first bin.
      photons = emu%photons(:, c) * here%ages(:nneb, 1)
      do g = 1, ngas
        here%gas(:, g, c, 1) = real(mixed(nyoung, emu%nebulae(:, :, g), photons), sp)
        here%gas(:, g, c, 2) = real(mixed(nneb - nyoung, &
          emu%nebulae(:, nyoung + 1:, g), photons(nyoung + 1:)), sp)
      end do
    end do
  end subroutine prepare

  pure function at_redshift(emu, z) result(here)
    type(emulator), intent(in) :: emu
    real(dp), intent(in) :: z
    type(redshift) :: here
    real(dp) :: depth(nblue), distance
    integer :: i, top
    here%z = z
    distance = luminosity_distance(emu%sky, z) * 1.0e5_dp
    here%unit = lnu_unit * maggies_10pc * (1.0_dp + z) / distance**2
    here%ages = age_weights(emu%log_age, bin_edges(emu%sky, z))
    ! The fit of the depth turns down at short wavelengths; its largest value holds from there on.
    depth = 0.0_dp
    do i = 1, size(emu%igm_power)
      depth = depth + (1.0_dp + z)**emu%igm_power(i) * emu%igm_depth(:, i)
    end do
    top = maxloc(depth, 1)
    depth(:top) = depth(top)
    here%igm = exp(-depth)
    call weigh_bands(emu, log(emu%wavelength) + log(1.0_dp + z), here)
  end function at_redshift

  ! Share of each population in the stars of each age bin, linear in log(age): of the mass
  ! between two populations the older takes (moment - x0 mass) / (x1 - x0).
  pure function age_weights(log_age, edges) result(weight)
    real(dp), intent(in) :: log_age(nage), edges(0:nbin)
    real(dp) :: weight(nage, nbin), edge(0:nbin), rate(nbin), x(0:nage), t(0:nage), moment(0:nage)
    real(dp) :: mass, older
    integer :: a, k
    x = [0.0_dp, log_age]
    edge = 10.0_dp**edges
    rate = 1.0_dp / (edge(1:) - edge(:nbin - 1))
    edge(0) = edge(0) * (1.0_dp + edge_width)
    edge(nbin) = edge(nbin) * (1.0_dp - edge_width)
    do k = 1, nbin
      t = max(edge(k - 1), min(edge(k), 10.0_dp**x))
      moment = t * (max(log10(edge(k - 1)), min(log10(edge(k)), x)) - log10(exp(1.0_dp)))
      weight(:, k) = 0.0_dp
      weight(1, k) = t(1) - t(0)
      do a = 2, nage
        mass = t(a) - t(a - 1)
        older = (moment(a) - moment(a - 1) - x(a - 1) * mass) / (x(a) - x(a - 1))
        weight(a - 1, k) = weight(a - 1, k) + mass - older
        weight(a, k) = older
      end do
      weight(:, k) = weight(:, k) * rate(k)
    end do
  end function age_weights

  ! Wavelengths of each band and their weights: the integral of the spectrum, linear between
  ! its nodes x = ln(lambda observed), over the transmission, linear in lambda between its own.
  pure subroutine weigh_bands(emu, x, here)
    type(emulator), intent(in) :: emu
    real(dp), intent(in) :: x(nwave)
    type(redshift), intent(inout) :: here
    real(dp) :: sums(2), before(2), i0, i1, dx, origin
    integer :: b, i, j, lo, hi, node
    do b = 1, nband
      lo = emu%curve_start(b)
      hi = emu%curve_start(b + 1) - 1
      here%first(b) = max(1, min(below(x, emu%curve_x(lo)), nwave))
      here%last(b) = max(here%first(b), min(below(x, emu%curve_x(hi)) + 1, nwave))
      if (b > 1) here%start(b) = here%start(b - 1) + here%last(b - 1) - here%first(b - 1) + 1
    end do
    allocate (here%weight(here%start(nband) + here%last(nband) - here%first(nband)))
    here%weight = 0.0_dp
    do b = 1, nband
      lo = emu%curve_start(b)
      hi = emu%curve_start(b + 1) - 1
      origin = emu%curve_x(lo)
      before = 0.0_dp
      node = lo
      do i = here%first(b), here%last(b)
        call integrate(emu, lo, hi, x(i), node, sums)
        if (i > here%first(b)) then
          j = here%start(b) + i - here%first(b)
          i0 = sums(1) - before(1)
          i1 = sums(2) - before(2)
          dx = x(i) - x(i - 1)
          here%weight(j) = here%weight(j) + (i1 - (x(i - 1) - origin) * i0) / dx
          here%weight(j - 1) = here%weight(j - 1) + ((x(i) - origin) * i0 - i1) / dx
        end if
        before = sums
      end do
      lo = here%start(b)
      hi = lo + here%last(b) - here%first(b)
      here%weight(lo:hi) = here%weight(lo:hi) &
        / (emu%curve_i0(emu%curve_start(b + 1) - 1) - emu%curve_i0(emu%curve_start(b)))
    end do
  end subroutine weigh_bands

  ! Integrals of T dx and T (x - origin) dx over the curve from its node lo up to x. The cell i
  ! is that of the last call, and moves on.
  pure subroutine integrate(emu, lo, hi, x, i, sums)
    type(emulator), intent(in) :: emu
    integer, intent(in) :: lo, hi
    real(dp), intent(in) :: x
    integer, intent(inout) :: i
    real(dp), intent(out) :: sums(2)
    real(dp) :: u, grow, t, slope
    u = max(emu%curve_x(lo), min(emu%curve_x(hi), x))
    do while (i < hi - 1 .and. emu%curve_x(i + 1) <= u)
      i = i + 1
    end do
    u = u - emu%curve_x(i)
    t = emu%curve_t(i)
    slope = emu%curve_slope(i)
    grow = 2.0_dp * exp(0.5_dp * u) * sinh(0.5_dp * u)  ! exp(u) - 1
    sums(1) = t * u + slope * (grow - u)
    sums(2) = t * u**2 / 2.0_dp + slope * (u * (grow + 1.0_dp) - grow - u**2 / 2.0_dp) &
              + (emu%curve_x(i) - emu%curve_x(lo)) * sums(1)
    sums = sums + [emu%curve_i0(i), emu%curve_i1(i)]
  end subroutine integrate

  ! ---- one galaxy

  ! L_nu of stars, gas and dust, and of the AGN, in lnu_unit per Msun; no intergalactic gas.
  pure subroutine emission(emu, here, theta, stars, torus)
    type(emulator), intent(in) :: emu
    type(redshift), intent(in) :: here
    real(dp), intent(in) :: theta(nparam)
    real(dp), intent(out) :: stars(nwave), torus(nwave)
    real(dp) :: young(nwave), old(nwave), through(nwave), cloud(nwave), dust(nspan)
    real(dp) :: share(nbin), ages(nage), photons(nneb), metal(0:1), polynomial(nnode)
    real(dp) :: f, lost, power, grain(0:1, 3)
    integer :: c, m, g, i, j, k, node, cell(3)
    share = shares(emu%sky, theta)
    ages = matmul(here%ages, share)
    call find_cell(emu%logz, theta(i_logzsol), c, f)
    metal = [1.0_dp - f, f]
    ! The light per photon is a polynomial in each cell of the gas's metallicity.
    call find_cell(emu%gas_logz, theta(i_gas_logz), node, f)
    node = (nnode - 1) * (node - 1)
    f = max(0.0_dp, min(1.0_dp, f))
    polynomial = matmul(emu%lagrange, [(real(2.0_dp * f - 1.0_dp, dp)**i, i=0, nnode - 1)])
    young = 0.0_dp
    old = 0.0_dp
    do m = 0, 1
      if (allocated(here%stars)) then
        young = young + mixed(1, here%stars(:, :, c + m), metal(m) * share(:1)) &
          + mixed(nnode, here%gas(:, node + 1:, c + m, 1), metal(m) * share(1) * polynomial)
        old = old + mixed(nbin, here%stars(:, 2:, c + m), metal(m) * share) &
          + mixed(nnode, here%gas(:, node + 1:, c + m, 2), metal(m) * share(1) * polynomial)
      else
        young = young + mixed(nyoung, emu%populations(:, :, c + m), metal(m) * ages)
        old = old + mixed(nage - nyoung, emu%populations(:, nyoung + 1:, c + m), &
                          metal(m) * ages(nyoung + 1:))
      end if
    end do
    if (.not. allocated(here%stars)) then
      photons = matmul(emu%photons(:, c:c + 1), metal) * ages(:nneb)
      do g = 1, nnode
        young = young + mixed(nyoung, emu%nebulae(:, :, node + g), polynomial(g) * photons)
        old = old + mixed(nneb - nyoung, emu%nebulae(:, nyoung + 1:, node + g), &
                          polynomial(g) * photons(nyoung + 1:))
      end do
    end if
    ! Dust: birth clouds around the young, diffuse dust before all; it emits what it absorbs.
    associate (a => emu%extinction, index => theta(i_dust_index), depth => theta(i_dust2))
      through = exp(depth * exp(index * a(:, 3)) * (a(:, 1) &
        + (real(0.85_sp, dp) - index * real(1.9_sp, dp)) * a(:, 2)))
      cloud = exp(theta(i_dust1_fraction) * depth * a(:, 4))
    end associate
    old = old + young * cloud
    lost = dot_product(emu%hertz, young * (1.0_dp - cloud) + old * (1.0_dp - through))
    call find_cell(emu%qpah, theta(i_duste_qpah), cell(1), grain(1, 1))
    call find_cell(emu%umin, theta(i_duste_umin), cell(2), grain(1, 2))
    cell(3) = 1
    grain(1, 3) = 10.0_dp**theta(i_log_duste_gamma)
    grain(1, :) = max(0.0_dp, min(1.0_dp, grain(1, :)))
    grain(0, :) = 1.0_dp - grain(1, :)
    dust = 0.0_dp
    do i = 0, 1
      do j = 0, 1
        do k = 0, 1
          dust = dust + grain(i, 1) * grain(j, 2) * grain(k, 3) &
                 * emu%dust(:, 1 + k, cell(2) + j, cell(1) + i)
        end do
      end do
    end do
    dust = dust * through(nwave - nspan + 1:)
    stars = old * through
    stars(nwave - nspan + 1:) = stars(nwave - nspan + 1:) &
      + dust * (lost / dot_product(dust, emu%hertz(nwave - nspan + 1:)))
    ! The AGN shines a share of the stars' luminosity.
    power = dot_product(ages, 10.0_dp**matmul(emu%log_lbol(:, c:c + 1), metal)) &
            * 10.0_dp**theta(i_log_fagn)
    call find_cell(emu%tau, 10.0_dp**theta(i_log_agn_tau), c, f)
    f = max(0.0_dp, min(1.0_dp, f))
    torus = power * mixed(2, emu%torus(:, c:), [1.0_dp - f, f]) * through
  end subroutine emission

  ! Sum of the first n columns of a table, weighted.
  pure function mixed(n, table, weight) result(total)
    integer, intent(in) :: n
    real(sp), intent(in) :: table(nwave, n)
    real(dp), intent(in) :: weight(n)
    real(dp) :: total(nwave)
    integer :: i
    total = 0.0_dp
    do i = 1, n
      if (weight(i) /= 0.0_dp) total = total + weight(i) * table(:, i)
    end do
  end function mixed

  pure function band_fluxes(emu, here, theta) result(flux)
    type(emulator), intent(in) :: emu
    type(redshift), intent(in) :: here
    real(dp), intent(in) :: theta(nparam)
    real(dp) :: flux(nband), stars(nwave), torus(nwave)
    integer :: b, n
    call emission(emu, here, theta, stars, torus)
    stars(:nblue) = stars(:nblue) * here%igm
    stars = (stars + torus) * here%unit * 10.0_dp**theta(i_logmass)
    do b = 1, nband
      n = here%last(b) - here%first(b)
      flux(b) = dot_product(stars(here%first(b):here%last(b)), &
                            here%weight(here%start(b):here%start(b) + n))
    end do
  end function band_fluxes

  ! Cell of an increasing axis and the position in it, 0 at its start and 1 at its end.
  pure subroutine find_cell(axis, x, cell, f)
    real(dp), intent(in) :: axis(:), x
    integer, intent(out) :: cell
    real(dp), intent(out) :: f
    cell = max(1, min(below(axis, x), size(axis) - 1))
    f = (x - axis(cell)) / (axis(cell + 1) - axis(cell))
  end subroutine find_cell

  ! How many nodes of an increasing axis are at or below x.
  pure function below(axis, x) result(lo)
    real(dp), intent(in) :: axis(:), x
    integer :: lo, hi, mid
    lo = 0
    hi = size(axis) + 1
    do while (hi - lo > 1)
      mid = (lo + hi) / 2
      if (axis(mid) <= x) then
        lo = mid
      else
        hi = mid
      end if
    end do
  end function below

  ! ---- what a user calls

  pure function maggies_many(emu, theta) result(flux)
    type(emulator), intent(in) :: emu
    real(dp), intent(in) :: theta(:, :)
    real(dp) :: flux(nband, size(theta, 2))
    type(redshift) :: here
    integer :: k
    do k = 1, size(theta, 2)
      flux(:, k) = nan()
      if (.not. inside(emu, theta(:, k))) cycle
      if (theta(i_zred, k) /= here%z) here = at_redshift(emu, theta(i_zred, k))
      flux(:, k) = band_fluxes(emu, here, theta(:, k))
    end do
  end function maggies_many

  pure function maggies_here_many(emu, here, theta) result(flux)
    type(emulator), intent(in) :: emu
    type(redshift), intent(in) :: here
    real(dp), intent(in) :: theta(:, :)
    real(dp) :: flux(nband, size(theta, 2))
    integer :: k
    do k = 1, size(theta, 2)
      flux(:, k) = nan()
      if (.not. (allocated(here%stars) .and. inside(emu, theta(:, k)))) cycle
      if (abs(theta(i_zred, k) - here%z) > 1.0e-9_dp) cycle
      flux(:, k) = band_fluxes(emu, here, theta(:, k))
    end do
  end function maggies_here_many

  pure function maggies_here_one(emu, here, theta) result(flux)
    type(emulator), intent(in) :: emu
    type(redshift), intent(in) :: here
    real(dp), intent(in) :: theta(:)
    real(dp) :: flux(nband)
    flux = reshape(maggies_here_many(emu, here, reshape(theta, [size(theta), 1])), [nband])
  end function maggies_here_one

  pure function mfrac_one(emu, theta) result(f)
    type(emulator), intent(in) :: emu
    real(dp), intent(in) :: theta(:)
    real(dp) :: f, ages(nage), fraction
    integer :: c
    f = nan()
    if (.not. inside(emu, theta)) return
    ages = matmul(age_weights(emu%log_age, bin_edges(emu%sky, theta(i_zred))), &
                  shares(emu%sky, theta))
    call find_cell(emu%logz, theta(i_logzsol), c, fraction)
    f = dot_product(ages, matmul(emu%mass(:, c:c + 1), [1.0_dp - fraction, fraction]))
  end function mfrac_one

  ! Intergalactic absorption included.
  pure function spectrum_one(emu, theta) result(lnu)
    type(emulator), intent(in) :: emu
    real(dp), intent(in) :: theta(:)
    real(dp) :: lnu(nwave), torus(nwave)
    type(redshift) :: here
    lnu = nan()
    if (.not. inside(emu, theta)) return
    here = at_redshift(emu, theta(i_zred))
    call emission(emu, here, theta, lnu, torus)
    lnu(:nblue) = lnu(:nblue) * here%igm
    lnu = (lnu + torus) * lnu_unit * 10.0_dp**theta(i_logmass)
  end function spectrum_one

  pure function spectrum_many(emu, theta) result(lnu)
    type(emulator), intent(in) :: emu
    real(dp), intent(in) :: theta(:, :)
    real(dp) :: lnu(nwave, size(theta, 2))
    integer :: k
    do k = 1, size(theta, 2)
      lnu(:, k) = spectrum_one(emu, theta(:, k))
    end do
  end function spectrum_many

@BOX_PROCEDURES@
@READ_PROCEDURES@
end module @MODULE@
