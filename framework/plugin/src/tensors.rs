//! Tensors over the door and back, without a copy.
//!
//! What comes from the other side is checked before a number of it is read: device, element type, axes,
//! strides, that sizes do not overflow, and alignment.

use std::ffi::c_void;

use ndarray::{ArrayView, ArrayViewMut, Dim, Dimension, IntoDimension, Ix};

use crate::abi::{DL_CPU, DLDataType, DLDevice, DLTensor};

/// A kind of element that crosses.
pub(crate) trait Element: Copy + 'static {
    /// Its name in DLPack.
    const DTYPE: DLDataType;
    /// Its name for people.
    const NAME: &'static str;
}

impl Element for f32 {
    const DTYPE: DLDataType = DLDataType::F32;
    const NAME: &'static str = "f32";
}

impl Element for i64 {
    const DTYPE: DLDataType = DLDataType::I64;
    const NAME: &'static str = "i64";
}

/// A tensor that is lent, with the shape that it points at.
pub(crate) struct Lent<const N: usize> {
    data: *mut c_void,
    dtype: DLDataType,
    shape: [i64; N],
}

impl<const N: usize> Lent<N> {
    /// Values in a row-major `shape`, to be read.
    ///
    /// # Panics
    /// If the values are not as many as the shape says.
    pub(crate) fn of<T: Element>(values: &[T], shape: [usize; N]) -> Self {
        Self::at(values.as_ptr().cast_mut(), values.len(), shape)
    }

    /// The same, to be written.
    ///
    /// # Panics
    /// If the values are not as many as the shape says.
    pub(crate) fn of_mut<T: Element>(values: &mut [T], shape: [usize; N]) -> Self {
        Self::at(values.as_mut_ptr(), values.len(), shape)
    }

    fn at<T: Element>(data: *mut T, length: usize, shape: [usize; N]) -> Self {
        assert_eq!(shape.iter().product::<usize>(), length, "values fit the shape");
        Self { data: data.cast(), dtype: T::DTYPE, shape: shape.map(|size| size as i64) }
    }

    /// As it crosses; it must not outlive this.
    pub(crate) fn tensor(&self) -> DLTensor {
        DLTensor {
            data: self.data,
            device: DLDevice { device_type: DL_CPU, device_id: 0 },
            ndim: N as i32,
            dtype: self.dtype,
            shape: self.shape.as_ptr(),
            strides: std::ptr::null(),
            byte_offset: 0,
        }
    }
}

/// Where its elements begin, and its shape.
///
/// # Safety
/// The pointer is null or points to a tensor whose shape and strides, if not null, have `ndim` numbers.
unsafe fn checked<T: Element, const N: usize>(
    tensor: *const DLTensor,
) -> Result<(*mut T, [usize; N]), String> {
    // SAFETY: as the caller promises.
    let Some(tensor) = (unsafe { tensor.as_ref() }) else {
        return Err("the tensor is missing".to_owned());
    };
    let wrong = |what: &str, got: &dyn std::fmt::Debug, expected: &dyn std::fmt::Debug| {
        Err(format!("the tensor's {what} is {got:?}, expected {expected:?}"))
    };
    if tensor.device.device_type != DL_CPU {
        return wrong("device", &tensor.device.device_type, &DL_CPU);
    }
    if tensor.dtype != T::DTYPE {
        return wrong("element type", &tensor.dtype, &T::NAME);
    }
    if tensor.ndim != N as i32 || (N > 0 && tensor.shape.is_null()) {
        return wrong("number of axes", &tensor.ndim, &N);
    }
    // SAFETY: there are `ndim`, that is N, numbers, as the caller promises.
    let sizes = unsafe { std::slice::from_raw_parts(tensor.shape, N) };
    let mut shape = [0; N];
    // An axis without elements hides no other one that is too long: views want all of them to fit.
    let mut most = size_of::<T>();
    for (axis, &size) in sizes.iter().enumerate() {
        let fits = usize::try_from(size).ok().and_then(|size| {
            most = most.checked_mul(size.max(1))?;
            (most <= isize::MAX as usize).then_some(size)
        });
        let Some(size) = fits else {
            return wrong("shape", &sizes, &"sizes whose product fits the memory");
        };
        shape[axis] = size;
    }
    let elements: usize = shape.iter().product();
    if !tensor.strides.is_null() {
        // SAFETY: as for the shape.
        let strides = unsafe { std::slice::from_raw_parts(tensor.strides, N) };
        let mut expected = [1_i64; N];
        for axis in (1..N).rev() {
            expected[axis - 1] = expected[axis] * sizes[axis].max(1);
        }
        // The stride of an axis of one element leads nowhere.
        let follows = |axis: usize| sizes[axis] <= 1 || strides[axis] == expected[axis];
        if elements > 0 && !(0..N).all(follows) {
            return wrong("strides", &strides, &expected);
        }
    }
    if elements == 0 {
        return Ok((std::ptr::NonNull::dangling().as_ptr(), shape));
    }
    if tensor.data.is_null() {
        return Err("the tensor has elements but no memory".to_owned());
    }
    let Ok(offset) = usize::try_from(tensor.byte_offset) else {
        return wrong("byte offset", &tensor.byte_offset, &"one that fits the memory");
    };
    let data = tensor.data.wrapping_byte_add(offset).cast::<T>();
    if !data.is_aligned() {
        return wrong("address", &data, &format!("a multiple of {}", align_of::<T>()));
    }
    Ok((data, shape))
}

/// What a tensor from the other side holds.
///
/// # Safety
/// The pointer is null or points to a tensor that lives for `'a`, whose shape, strides and memory are what it says, and
/// which nobody writes meanwhile.
pub(crate) unsafe fn view<'a, T: Element, const N: usize>(
    tensor: *const DLTensor,
) -> Result<ArrayView<'a, T, Dim<[Ix; N]>>, String>
where
    [Ix; N]: IntoDimension<Dim = Dim<[Ix; N]>>,
    Dim<[Ix; N]>: Dimension,
{
    // SAFETY: as the caller promises; the sizes were checked not to overflow, and what is empty is not read.
    unsafe {
        let (data, shape) = checked::<T, N>(tensor)?;
        Ok(ArrayView::from_shape_ptr(shape.into_dimension(), data))
    }
}

/// The same, to be written.
///
/// # Safety
/// As for [`view`], and nobody else reads it meanwhile.
pub(crate) unsafe fn view_mut<'a, T: Element, const N: usize>(
    tensor: *const DLTensor,
) -> Result<ArrayViewMut<'a, T, Dim<[Ix; N]>>, String>
where
    [Ix; N]: IntoDimension<Dim = Dim<[Ix; N]>>,
    Dim<[Ix; N]>: Dimension,
{
    // SAFETY: as the caller promises; the sizes were checked not to overflow, and what is empty is not written.
    unsafe {
        let (data, shape) = checked::<T, N>(tensor)?;
        Ok(ArrayViewMut::from_shape_ptr(shape.into_dimension(), data))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tensor_crosses_without_a_copy() {
        let values = [1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0];
        let lent = Lent::of(&values, [2, 3]);
        // SAFETY: the tensor is what it says, and lives until the end of the test.
        let seen = unsafe { view::<f32, 2>(&lent.tensor()) }.unwrap();
        assert_eq!(seen.as_ptr(), values.as_ptr());
        assert_eq!(seen, ndarray::arr2(&[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]));
    }

    #[test]
    fn what_is_written_is_there() {
        let mut values = [0_i64; 2];
        let lent = Lent::of_mut(&mut values, [2]);
        // SAFETY: as above, and nobody else looks at it.
        unsafe { view_mut::<i64, 1>(&lent.tensor()) }.unwrap().fill(7);
        assert_eq!(values, [7, 7]);
    }

    #[test]
    fn lies_are_refused() {
        let values = [0.0_f32; 7];
        let lent = Lent::of(&values[..6], [2, 3]);
        let good = lent.tensor();
        let problem = |tensor: DLTensor| {
            // SAFETY: of a tensor that lies in its numbers no element is read.
            unsafe { view::<f32, 2>(&tensor) }.unwrap_err()
        };
        let shape = |shape: &'static [i64; 2]| DLTensor { shape: shape.as_ptr(), ..good };
        let strides = |strides: &'static [i64; 2]| DLTensor { strides: strides.as_ptr(), ..good };
        let device = DLDevice { device_type: 2, device_id: 0 };
        for (tensor, expected) in [
            (DLTensor { device, ..good }, "device is 2"),
            (DLTensor { dtype: DLDataType::I64, ..good }, "expected \"f32\""),
            (DLTensor { ndim: 3, ..good }, "number of axes is 3"),
            (DLTensor { data: std::ptr::null_mut(), ..good }, "no memory"),
            (DLTensor { byte_offset: 1, ..good }, "a multiple of 4"),
            (DLTensor { shape: std::ptr::null(), ..good }, "number of axes"),
            (shape(&[-1, 3]), "shape is [-1, 3]"),
            (shape(&[i64::MAX, 3]), "fits the memory"),
            (shape(&[i64::MAX, 0]), "fits the memory"),
            (strides(&[1, 2]), "strides is [1, 2]"),
            (strides(&[i64::MIN, 1]), "strides"),
        ] {
            let got = problem(tensor);
            assert!(got.contains(expected), "{got} for {expected}");
        }
        // SAFETY: as above.
        assert!(unsafe { view::<f32, 2>(std::ptr::null()) }.is_err());
        let tight = strides(&[3, 1]);
        // SAFETY: this one is what it says.
        assert!(unsafe { view::<f32, 2>(&tight) }.is_ok());
        let none = DLTensor { data: std::ptr::null_mut(), ..shape(&[0, 3]) };
        // SAFETY: as above; it is empty.
        assert_eq!(unsafe { view::<f32, 2>(&none) }.unwrap().dim(), (0, 3));
    }
}
