//! Tensors as DLPack 1.0 describes them: the same layout, so that any library that knows it reads them.

use std::ffi::c_void;

/// `kDLCPU`.
pub const DL_CPU: i32 = 1;
/// `kDLInt`.
pub const DL_INT: u8 = 0;
/// `kDLUInt`.
pub const DL_UINT: u8 = 1;
/// `kDLFloat`.
pub const DL_FLOAT: u8 = 2;

/// Where a tensor lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct DLDevice {
    /// [`DL_CPU`]; nothing else crosses.
    pub device_type: i32,
    /// 0.
    pub device_id: i32,
}

/// What its elements are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct DLDataType {
    /// [`DL_FLOAT`], [`DL_INT`] or [`DL_UINT`].
    pub code: u8,
    /// Bits of an element.
    pub bits: u8,
    /// 1.
    pub lanes: u16,
}

impl DLDataType {
    /// f32.
    pub const F32: Self = Self { code: DL_FLOAT, bits: 32, lanes: 1 };
    /// i64.
    pub const I64: Self = Self { code: DL_INT, bits: 64, lanes: 1 };
    /// u64.
    pub const U64: Self = Self { code: DL_UINT, bits: 64, lanes: 1 };
    /// u32.
    pub const U32: Self = Self { code: DL_UINT, bits: 32, lanes: 1 };
}

/// A tensor, lent for the call.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct DLTensor {
    /// Its memory, aligned to its elements.
    pub data: *mut c_void,
    /// On the CPU.
    pub device: DLDevice,
    /// Axes.
    pub ndim: i32,
    /// What its elements are.
    pub dtype: DLDataType,
    /// Elements along each axis, `[ndim]`.
    pub shape: *const i64,
    /// Elements from one to the next along each axis, `[ndim]`; null if it is contiguous, rows first.
    pub strides: *const i64,
    /// Bytes from `data` to its first element.
    pub byte_offset: u64,
}
