//! Loops compiled once per instruction set.

/// The instruction set that loops run in; a value other than `Portable` exists only where the
/// processor has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Isa(Set);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Set {
    /// AVX-512 with the dot products of bytes (VNNI).
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// AVX2 with fused multiply-add.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// What every processor of the target has.
    Portable,
}

impl Isa {
    /// Those that this machine can run, the fastest first.
    pub fn available() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let vectorized = [
            (is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vnni"))
            .then_some(Set::Avx512),
            (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"))
                .then_some(Set::Avx2),
        ];
        #[cfg(not(target_arch = "x86_64"))]
        let vectorized: [Option<Set>; 0] = [];
        vectorized.into_iter().flatten().chain([Set::Portable]).map(Self)
    }

    /// The fastest that this machine can run.
    pub fn fastest() -> Self {
        Self::available().next().unwrap_or(Self(Set::Portable))
    }

    pub(crate) fn set(self) -> Set {
        self.0
    }
}

/// Makes `$name(isa, ..)` of the function `$portable(..)`, which must be `#[inline(always)]`: the
/// compiler vectorizes it for each instruction set.
macro_rules! per_isa {
    ($(#[$doc:meta])* $visibility:vis fn $name:ident($($argument:ident: $kind:ty),* $(,)?) $(-> $result:ty)? = $portable:path) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments, reason = "those of the function it calls")]
        $visibility fn $name(isa: $crate::isa::Isa, $($argument: $kind),*) $(-> $result)? {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
            #[allow(clippy::too_many_arguments, reason = "those of the function it calls")]
            fn avx512($($argument: $kind),*) $(-> $result)? {
                $portable($($argument),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            #[allow(clippy::too_many_arguments, reason = "those of the function it calls")]
            fn avx2($($argument: $kind),*) $(-> $result)? {
                $portable($($argument),*)
            }
            match isa.set() {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: this value exists only where the processor has these features.
                $crate::isa::Set::Avx512 => unsafe { avx512($($argument),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: this value exists only where the processor has these features.
                $crate::isa::Set::Avx2 => unsafe { avx2($($argument),*) },
                $crate::isa::Set::Portable => $portable($($argument),*),
            }
        }
    };
}
pub(crate) use per_isa;
