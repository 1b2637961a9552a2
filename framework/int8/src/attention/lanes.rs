//! Sixteen floats at a time.

/// Floats of a vector.
pub(super) const LANES: usize = 16;
/// The floats of one vector, in memory.
pub(super) type Lane = [f32; LANES];

/// A vector in registers.
pub(super) trait Lanes: Copy {
    /// `value` sixteen times.
    fn splat(value: f32) -> Self;
    /// What is in memory.
    fn load(lane: &Lane) -> Self;
    /// To memory.
    fn store(self, lane: &mut Lane);
    /// `self * factor + sum`, rounded once if the processor can.
    fn multiply_add(self, factor: Self, sum: Self) -> Self;
}

/// Whatever registers the compiler makes of it; `FUSED` where multiply-add is one instruction.
#[derive(Clone, Copy)]
pub(super) struct Array<const FUSED: bool>(Lane);

impl<const FUSED: bool> Lanes for Array<FUSED> {
    #[inline(always)]
    fn splat(value: f32) -> Self {
        Self([value; LANES])
    }

    #[inline(always)]
    fn load(lane: &Lane) -> Self {
        Self(*lane)
    }

    #[inline(always)]
    fn store(self, lane: &mut Lane) {
        *lane = self.0;
    }

    #[inline(always)]
    fn multiply_add(self, factor: Self, sum: Self) -> Self {
        Self(std::array::from_fn(|at| {
            let (a, b, c) = (self.0[at], factor.0[at], sum.0[at]);
            if FUSED { a.mul_add(b, c) } else { a * b + c }
        }))
    }
}

/// A register of AVX-512. To be used where the processor has it: inside functions that enable it.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(super) struct Avx512(std::arch::x86_64::__m512);

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use super::{Avx512, Lane, Lanes};

    impl Lanes for Avx512 {
        #[inline(always)]
        fn splat(value: f32) -> Self {
            // SAFETY: this type is used in functions that enable AVX-512 only.
            Self(unsafe { _mm512_set1_ps(value) })
        }

        #[inline(always)]
        fn load(lane: &Lane) -> Self {
            // SAFETY: as above; 16 floats are what is read, and no alignment is asked for.
            Self(unsafe { _mm512_loadu_ps(lane.as_ptr()) })
        }

        #[inline(always)]
        fn store(self, lane: &mut Lane) {
            // SAFETY: as above; 16 floats are what is written, and no alignment is asked for.
            unsafe { _mm512_storeu_ps(lane.as_mut_ptr(), self.0) }
        }

        #[inline(always)]
        fn multiply_add(self, factor: Self, sum: Self) -> Self {
            // SAFETY: this type is used in functions that enable AVX-512 only.
            Self(unsafe { _mm512_fmadd_ps(self.0, factor.0, sum.0) })
        }
    }
}
