//! Tensors in the layout of DLPack 1.0: a `DLTensor` of its header and a [`MobillmTensor`] are the same bytes, so any
//! library that reads the one reads the other. The names are others, so that both headers may be included.

use std::ffi::c_void;

/// DLPack's `kDLCPU`.
pub const MOBILLM_CPU: i32 = 1;
/// DLPack's `kDLInt`.
pub const MOBILLM_INT: u8 = 0;
/// DLPack's `kDLUInt`.
pub const MOBILLM_UINT: u8 = 1;
/// DLPack's `kDLFloat`.
pub const MOBILLM_FLOAT: u8 = 2;

/// Where a tensor lies: DLPack's `DLDevice`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct MobillmDevice {
    /// [`MOBILLM_CPU`]; nothing else crosses.
    pub device_type: i32,
    /// 0.
    pub device_id: i32,
}

/// What its elements are: DLPack's `DLDataType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct MobillmElement {
    /// [`MOBILLM_FLOAT`], [`MOBILLM_INT`] or [`MOBILLM_UINT`].
    pub code: u8,
    /// Bits of an element.
    pub bits: u8,
    /// 1.
    pub lanes: u16,
}

/// A tensor, lent for the call: DLPack's `DLTensor`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct MobillmTensor {
    /// Its memory, aligned to its elements.
    pub data: *mut c_void,
    /// On the CPU.
    pub device: MobillmDevice,
    /// Axes.
    pub ndim: i32,
    /// What its elements are.
    pub dtype: MobillmElement,
    /// Elements along each axis, `[ndim]`.
    pub shape: *const i64,
    /// Elements from one to the next along each axis, `[ndim]`; null if it is contiguous, rows first.
    pub strides: *const i64,
    /// Bytes from `data` to its first element.
    pub byte_offset: u64,
}
