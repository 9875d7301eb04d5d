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
! they are NaN; call check(emu, theta, status, message) says why.
module @MODULE@
  use, intrinsic :: iso_fortran_env, only: dp => real64, sp => real32, int32, int64
  use, intrinsic :: ieee_arithmetic, only: ieee_value, ieee_quiet_nan
  implicit none
  private
  public :: emulator, load, maggies, mfrac, inside, check
  public :: nparam, nband, parameter_names, band_names, dp

@BOX_TYPES@
  integer, parameter :: npart = @NPART@, block = 256
  ! The network predicts a galaxy of this mass formed at this distance.
  real(dp), parameter :: reference_logmass = 12.5_dp, reference_mpc = 1000.0_dp
  real(dp), parameter :: u0 = 35.0_dp

@NETWORK_TYPES@
  ! Networks for a range of redshifts each; neighbours overlap.
  type :: part
    type(network) :: flux, surviving
  end type part

  type :: emulator
    real(dp), allocatable :: low(:), high(:)
    real(dp), allocatable, private :: lower(:), upper(:)  ! redshifts of the parts
    type(cosmology), private :: sky
    type(part), private :: parts(npart)
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
    integer :: unit, p
    call open_weights(path, unit, status, message)
    if (status /= 0) return
    call read_vector(unit, emu%low)
    call read_vector(unit, emu%high)
    call read_cosmology(unit, emu%sky)
    call read_vector(unit, emu%lower)
    call read_vector(unit, emu%upper)
    do p = 1, npart
      call read_network(unit, emu%parts(p)%flux)
      call read_network(unit, emu%parts(p)%surviving)
    end do
    close (unit)
  end subroutine load

  ! Weights of the parts' fluxes: where two overlap the upper one fades in, the lower one out.
  pure function fading(emu, z) result(weight)
    type(emulator), intent(in) :: emu
    real(dp), intent(in) :: z
    real(dp) :: weight(npart)
    integer :: p
    weight = 1.0_dp
    do p = 1, npart
      if (p > 1) weight(p) = rising(emu, z, p)
      if (p < npart) weight(p) = weight(p) * (1.0_dp - rising(emu, z, p + 1))
    end do
  end function fading

  ! sin^2 over the overlap of a part with the one below, from 0 to 1.
  pure function rising(emu, z, p) result(weight)
    type(emulator), intent(in) :: emu
    real(dp), intent(in) :: z
    integer, intent(in) :: p
    real(dp) :: weight, phase
    phase = (z - emu%lower(p)) / (emu%upper(p - 1) - emu%lower(p))
    weight = sin(acos(0.0_dp) * max(0.0_dp, min(1.0_dp, phase)))**2
  end function rising

  pure function maggies_many(emu, theta) result(flux)
    type(emulator), intent(in) :: emu
    real(dp), intent(in) :: theta(:, :)
    real(dp) :: flux(nband, size(theta, 2))
    real(dp) :: weight(npart, block), a, scale
    real(dp), allocatable :: magnitude(:, :)
    integer, allocatable :: mine(:)
    integer :: p, i, k, start, last
    a = 2.5_dp * log10(exp(1.0_dp))
    allocate (magnitude(nband, block))
    do start = 1, size(theta, 2), block
      last = min(start + block - 1, size(theta, 2))
      do k = start, last
        weight(:, k - start + 1) = 0.0_dp
        flux(:, k) = nan()
        if (.not. inside(emu, theta(:, k))) cycle
        weight(:, k - start + 1) = fading(emu, theta(i_zred, k))
        flux(:, k) = 0.0_dp
      end do
      do p = 1, npart
        mine = pack([(k, k=start, last)], weight(p, :last - start + 1) > 0.0_dp)
        if (size(mine) == 0) cycle
        magnitude(:, :size(mine)) = &
          apply(emu%parts(p)%flux, inputs(emu, emu%parts(p)%flux, theta(:, mine)), 1, nband)
        do i = 1, size(mine)
          k = mine(i)
          scale = weight(p, k - start + 1) * 10.0_dp**(theta(i_logmass, k) - reference_logmass) &
                  * (1.0_dp + theta(i_zred, k)) &
                  * (reference_mpc / luminosity_distance(emu%sky, theta(i_zred, k)))**2
          flux(:, k) = flux(:, k) + scale &
                       * max(0.0_dp, 2.0_dp * exp(-u0 / a) * sinh((u0 - magnitude(:, i)) / a))
        end do
      end do
    end do
  end function maggies_many

  ! What a network sees of parameters (nparam, n): those behind the mass and, if it was trained on
  ! these, combinations of them.
  pure function inputs(emu, net, theta) result(x)
    type(emulator), intent(in) :: emu
    type(network), intent(in) :: net
    real(dp), intent(in) :: theta(:, :)
    real(dp) :: x(size(net%in_mean), size(theta, 2)), dust1
    real(dp), parameter :: depth(@NDEPTH@) = [@DEPTHS@]
    integer :: k
    x(:nparam - 1, :) = theta(2:, :)
    if (size(x, 1) == nparam - 1) return
    do k = 1, size(theta, 2)
      dust1 = theta(i_dust1_fraction, k) * theta(i_dust2, k)
      x(nparam:, k) = [ &
        log10(shares(emu%sky, theta(:, k)) + @LEAST_SHARE@), &
        log(theta(i_dust2, k) + @LEAST_DUST2@), dust1, dust1 + theta(i_dust2, k), &
        theta(i_dust2, k) * depth**theta(i_dust_index, k), log(theta(i_duste_umin, k))]
    end do
  end function inputs

  pure function mfrac_one(emu, theta) result(f)
    type(emulator), intent(in) :: emu
    real(dp), intent(in) :: theta(:)
    real(dp) :: f, weight(npart), per_bin(nbin, 1), share(nbin)
    integer :: p
    f = nan()
    if (.not. inside(emu, theta)) return
    weight = fading(emu, theta(i_zred))
    share = shares(emu%sky, theta)
    f = 0.0_dp
    do p = 1, npart
      if (weight(p) == 0.0_dp) cycle
      per_bin = apply(emu%parts(p)%surviving, reshape(theta([i_logzsol, i_zred]), [2, 1]), 1, nbin)
      f = f + weight(p) * dot_product(per_bin(:, 1), share)
    end do
  end function mfrac_one

@BOX_PROCEDURES@
@NETWORK_PROCEDURES@
@READ_PROCEDURES@
end module @MODULE@
