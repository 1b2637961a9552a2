//! Tensors over the door and back, without a copy.
//!
//! What comes from the other side is checked before a number of it is read: device, element type, axes,
//! strides, that sizes do not overflow, and alignment.

use std::ffi::c_void;

use ndarray::{ArrayView, Dim, Dimension, IntoDimension, Ix};

use crate::abi::{
    MOBILLM_CPU, MOBILLM_FLOAT, MOBILLM_INT, MobillmDevice, MobillmElement, MobillmTensor,
};
use crate::layout::{list, one};
use crate::text::there;

impl MobillmElement {
    /// f32.
    pub(crate) const F32: Self = Self { code: MOBILLM_FLOAT, bits: 32, lanes: 1 };
    /// i64.
    pub(crate) const I64: Self = Self { code: MOBILLM_INT, bits: 64, lanes: 1 };
}

/// A kind of element that crosses.
pub(crate) trait Element: Copy + 'static {
    /// Its name in DLPack.
    const DTYPE: MobillmElement;
    /// Its name for people.
    const NAME: &'static str;
}

impl Element for f32 {
    const DTYPE: MobillmElement = MobillmElement::F32;
    const NAME: &'static str = "f32";
}

impl Element for i64 {
    const DTYPE: MobillmElement = MobillmElement::I64;
    const NAME: &'static str = "i64";
}

/// A tensor that is lent, with the shape that it points at.
pub(crate) struct Lent<const N: usize> {
    data: *mut c_void,
    dtype: MobillmElement,
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
    pub(crate) fn tensor(&self) -> MobillmTensor {
        MobillmTensor {
            data: self.data,
            device: MobillmDevice { device_type: MOBILLM_CPU, device_id: 0 },
            ndim: N as i32,
            dtype: self.dtype,
            shape: self.shape.as_ptr(),
            strides: std::ptr::null(),
            byte_offset: 0,
        }
    }
}

fn wrong<T>(
    what: &str,
    got: &dyn std::fmt::Debug,
    expected: &dyn std::fmt::Debug,
) -> Result<T, String> {
    Err(format!("the tensor's {what} is {got:?}, expected {expected:?}"))
}

/// Where its elements begin, how many there are, and its shape.
///
/// # Safety
/// The pointer is null or points to a tensor whose shape and strides, if not null, have `ndim` numbers.
unsafe fn checked<T: Element, const N: usize>(
    tensor: *const MobillmTensor,
) -> Result<(*mut T, usize, [usize; N]), String> {
    // SAFETY: as the caller promises.
    let tensor = unsafe { one("tensor", tensor) }?;
    if tensor.device.device_type != MOBILLM_CPU {
        return wrong("device", &tensor.device.device_type, &MOBILLM_CPU);
    }
    if tensor.dtype != T::DTYPE {
        return wrong("element type", &tensor.dtype, &T::NAME);
    }
    if tensor.ndim != N as i32 {
        return wrong("number of axes", &tensor.ndim, &N);
    }
    // SAFETY: there are `ndim`, that is N, numbers, as the caller promises.
    let sizes = unsafe { list("sizes of the tensor's axes", tensor.shape, N) }?;
    let shape = shape::<T, N>(sizes)?;
    let elements = shape.iter().product();
    if !tensor.strides.is_null() && elements > 0 {
        // SAFETY: as for the shape.
        contiguous::<N>(sizes, unsafe { list("tensor's strides", tensor.strides, N) }?)?;
    }
    Ok((address(tensor, elements)?, elements, shape))
}

/// The shape, if so many elements fit the memory.
fn shape<T, const N: usize>(sizes: &[i64]) -> Result<[usize; N], String> {
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
    Ok(shape)
}

/// Whether these are the strides of rows after rows.
fn contiguous<const N: usize>(sizes: &[i64], strides: &[i64]) -> Result<(), String> {
    let mut expected = [1_i64; N];
    for axis in (1..N).rev() {
        expected[axis - 1] = expected[axis] * sizes[axis].max(1);
    }
    // The stride of an axis of one element leads nowhere.
    let follows = |axis: usize| sizes[axis] <= 1 || strides[axis] == expected[axis];
    if (0..N).all(follows) { Ok(()) } else { wrong("strides", &strides, &expected) }
}

/// Where its elements begin.
fn address<T: Element>(tensor: &MobillmTensor, elements: usize) -> Result<*mut T, String> {
    if elements == 0 {
        return Ok(std::ptr::NonNull::dangling().as_ptr());
    }
    if tensor.data.is_null() {
        return Err("the tensor has elements but no memory".to_owned());
    }
    let offset = usize::try_from(tensor.byte_offset).ok();
    let Some(offset) = offset.filter(|offset| tensor.data.addr().checked_add(*offset).is_some())
    else {
        return wrong("byte offset", &tensor.byte_offset, &"one that fits the memory");
    };
    let data = tensor.data.wrapping_byte_add(offset).cast::<T>();
    if !data.is_aligned() {
        return wrong("address", &data, &format!("a multiple of {}", align_of::<T>()));
    }
    there("elements of the tensor", data, elements)?;
    Ok(data)
}

/// The elements of a tensor from the other side, row after row, and its shape.
///
/// # Errors
/// If it is of another kind, number of axes, order or place.
///
/// # Safety
/// The pointer is null or points to a tensor that lives for `'a`, whose shape, strides and memory are what it says, and
/// which nobody writes meanwhile.
pub(crate) unsafe fn elements<'a, T: Element, const N: usize>(
    tensor: *const MobillmTensor,
) -> Result<(&'a [T], [usize; N]), String> {
    // SAFETY: as the caller promises; they are aligned and fit the memory, and what is empty is not read.
    unsafe {
        let (data, elements, shape) = checked::<T, N>(tensor)?;
        Ok((std::slice::from_raw_parts(data, elements), shape))
    }
}

/// The same, to be written.
///
/// # Errors
/// As for [`elements`].
///
/// # Safety
/// As for [`elements`], and nobody else reads it meanwhile.
pub(crate) unsafe fn elements_mut<'a, T: Element, const N: usize>(
    tensor: *const MobillmTensor,
) -> Result<(&'a mut [T], [usize; N]), String> {
    // SAFETY: as the caller promises; they are aligned and fit the memory, and what is empty is not written.
    unsafe {
        let (data, elements, shape) = checked::<T, N>(tensor)?;
        Ok((std::slice::from_raw_parts_mut(data, elements), shape))
    }
}

/// [`elements`] as an array of that shape.
///
/// # Errors
/// As for [`elements`].
///
/// # Safety
/// As for [`elements`].
pub(crate) unsafe fn view<'a, T: Element, const N: usize>(
    tensor: *const MobillmTensor,
) -> Result<ArrayView<'a, T, Dim<[Ix; N]>>, String>
where
    [Ix; N]: IntoDimension<Dim = Dim<[Ix; N]>>,
    Dim<[Ix; N]>: Dimension,
{
    // SAFETY: as the caller promises.
    let (elements, shape) = unsafe { elements::<T, N>(tensor) }?;
    ArrayView::from_shape(shape.into_dimension(), elements).map_err(|error| error.to_string())
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
        unsafe { elements_mut::<i64, 1>(&lent.tensor()) }.unwrap().0.fill(7);
        assert_eq!(values, [7, 7]);
    }

    #[test]
    fn lies_are_refused() {
        let values = [0.0_f32; 7];
        let lent = Lent::of(&values[..6], [2, 3]);
        let good = lent.tensor();
        let problem = |tensor: MobillmTensor| {
            // SAFETY: of a tensor that lies in its numbers no element is read.
            unsafe { view::<f32, 2>(&tensor) }.unwrap_err()
        };
        let shape = |shape: &'static [i64; 2]| MobillmTensor { shape: shape.as_ptr(), ..good };
        let strides =
            |strides: &'static [i64; 2]| MobillmTensor { strides: strides.as_ptr(), ..good };
        let device = MobillmDevice { device_type: 2, device_id: 0 };
        for (tensor, expected) in [
            (MobillmTensor { device, ..good }, "device is 2"),
            (MobillmTensor { dtype: MobillmElement::I64, ..good }, "expected \"f32\""),
            (MobillmTensor { ndim: 3, ..good }, "number of axes is 3"),
            (MobillmTensor { data: std::ptr::null_mut(), ..good }, "no memory"),
            (MobillmTensor { byte_offset: 1, ..good }, "a multiple of 4"),
            (MobillmTensor { shape: std::ptr::null(), ..good }, "axes are at 0x0"),
            (MobillmTensor { shape: good.shape.wrapping_byte_add(1), ..good }, "a multiple of 8"),
            (MobillmTensor { byte_offset: u64::MAX - 3, ..good }, "byte offset"),
            (MobillmTensor { data: (usize::MAX - 7) as *mut c_void, ..good }, "fits the memory"),
            (shape(&[-1, 3]), "shape is [-1, 3]"),
            (shape(&[i64::MAX, 3]), "fits the memory"),
            (shape(&[i64::MAX, 0]), "fits the memory"),
            (strides(&[1, 2]), "strides is [1, 2]"),
            (strides(&[i64::MIN, 1]), "strides"),
            (MobillmTensor { strides: good.shape.wrapping_byte_add(1), ..good }, "a multiple of 8"),
        ] {
            let got = problem(tensor);
            assert!(got.contains(expected), "{got} for {expected}");
        }
        // SAFETY: as above.
        assert!(unsafe { view::<f32, 2>(std::ptr::null()) }.is_err());
        let tight = strides(&[3, 1]);
        // SAFETY: this one is what it says.
        assert!(unsafe { view::<f32, 2>(&tight) }.is_ok());
        let none = MobillmTensor { data: std::ptr::null_mut(), ..shape(&[0, 3]) };
        // SAFETY: as above; it is empty.
        assert_eq!(unsafe { view::<f32, 2>(&none) }.unwrap().dim(), (0, 3));
    }
}
