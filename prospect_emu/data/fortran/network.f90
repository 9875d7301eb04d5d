  type :: layer
    real(dp), allocatable :: weight(:, :)  ! (n_out, n_in)
    real(dp), allocatable :: bias(:)
  end type layer

  type :: network
    type(layer), allocatable :: layers(:)
    real(dp), allocatable :: in_mean(:), in_std(:), out_mean(:), out_std(:)
  end type network
!@contains
  ! The Gaussian error linear unit in its tanh form; the constants are single
  ! precision, as in the Python code that trained the network.
  elemental function gelu(x) result(y)
    real(dp), intent(in) :: x
    real(dp) :: y
    real(dp), parameter :: a = real(0.044715_sp, dp)
    real(dp), parameter :: c = real(0.7978845608028654_sp, dp)
    y = 0.5_dp * x * (1.0_dp + tanh(c * x * (1.0_dp + a * x * x)))
  end function gelu

  ! Outputs (n_out, n) of inputs (n_in, n). `first` and `last` choose outputs.
  pure function apply(net, x, first, last) result(y)
    type(network), intent(in) :: net
    real(dp), intent(in) :: x(:, :)
    integer, intent(in) :: first, last
    real(dp) :: y(last - first + 1, size(x, 2))
    real(dp), allocatable :: h(:, :), g(:, :)
    integer :: i, k, depth
    depth = size(net%layers)
    allocate (h(size(x, 1), size(x, 2)))
    do k = 1, size(x, 2)
      h(:, k) = (x(:, k) - net%in_mean) / net%in_std
    end do
    do i = 1, depth - 1
      g = matmul(net%layers(i)%weight, h)
      do k = 1, size(g, 2)
        g(:, k) = gelu(g(:, k) + net%layers(i)%bias)
      end do
      call move_alloc(g, h)
    end do
    y = matmul(net%layers(depth)%weight(first:last, :), h)
    do k = 1, size(y, 2)
      y(:, k) = (y(:, k) + net%layers(depth)%bias(first:last)) &
                * net%out_std(first:last) + net%out_mean(first:last)
    end do
  end function apply

  subroutine read_network(unit, net)
    integer, intent(in) :: unit
    type(network), intent(out) :: net
    integer(int32) :: depth, n_in, n_out
    real(sp), allocatable :: w(:, :), b(:)
    integer :: i
    read (unit) depth
    allocate (net%layers(depth))
    do i = 1, depth
      read (unit) n_in, n_out
      allocate (w(n_out, n_in), b(n_out))
      read (unit) w, b
      net%layers(i)%weight = real(w, dp)
      net%layers(i)%bias = real(b, dp)
      deallocate (w, b)
    end do
    call read_vector(unit, net%in_mean)
    call read_vector(unit, net%in_std)
    call read_vector(unit, net%out_mean)
    call read_vector(unit, net%out_std)
  end subroutine read_network
