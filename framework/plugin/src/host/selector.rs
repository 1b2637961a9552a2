//! A selector on the other side.

use std::cell::Cell;
use std::ffi::c_void;
use std::marker::PhantomData;

use mobillm_core::activations::{Layout, Selected};
use mobillm_core::backbone::{BackboneInfo, Tap};
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::selector::{Selector, SelectorConfig, SelectorError};
use serde::{Deserialize, Serialize};

use super::component::Chosen;
use super::instance::{CallError, Instance};
use crate::abi::{
    MOBILLM_OK, MOBILLM_REFUSED, MobillmLayout, MobillmSelection, MobillmSelector, MobillmStatus,
    MobillmTensor, MobillmText,
};
use crate::layout::one;
use crate::tensors::elements;
use crate::{handle, layout, tap};

/// The config twin of every selector that is loaded.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct LoadedSelectorConfig(Chosen);

#[typetag::serde(name = "loaded")]
impl SelectorConfig for LoadedSelectorConfig {
    fn check(&self, info: &BackboneInfo) -> Vec<Diagnostic> {
        let found = self.0.check::<MobillmSelector>(info);
        // `build` cannot say that it failed: so it is tried here, where that has a place in the config.
        match found.is_empty().then(|| LoadedSelector::new(&self.0, info)) {
            Some(Err(error)) => vec![Diagnostic::new("", error.to_string())],
            _ => found,
        }
    }

    fn build(&self, info: &BackboneInfo) -> Box<dyn Selector> {
        match LoadedSelector::new(&self.0, info) {
            Ok(selector) => Box::new(selector),
            Err(error) => Box::new(Unbuilt(error)),
        }
    }
}

struct LoadedSelector {
    instance: Instance<MobillmSelector>,
    info: BackboneInfo,
    /// Of a model like `info`.
    layers: Vec<usize>,
    is_fixed: bool,
    /// The ABI wants calls of a selector to come one at a time: it is not `Sync`.
    one_at_a_time: PhantomData<Cell<()>>,
}

impl LoadedSelector {
    fn new(chosen: &Chosen, info: &BackboneInfo) -> Result<Self, CallError> {
        let instance = chosen.build::<MobillmSelector>(info)?;
        let layers = layers(&instance, info)?;
        let (_, is_fixed) = rows(&instance, 1)?;
        Ok(Self { instance, info: info.clone(), layers, is_fixed, one_at_a_time: PhantomData })
    }
}

fn layers(
    instance: &Instance<MobillmSelector>,
    info: &BackboneInfo,
) -> Result<Vec<usize>, CallError> {
    let text = serde_json::json!(info).to_string();
    // SAFETY: the instance is of this table; text and writers live for the call.
    let layers: Vec<usize> = instance.json(&"layers", |table, instance, out, error| unsafe {
        (table.layers)(instance, MobillmText::of(&text), out, error)
    })?;
    let within = layers.last().is_some_and(|last| *last <= info.layers);
    if within && layers.is_sorted_by(|a, b| a < b) {
        return Ok(layers);
    }
    let expected = format!("at least one of 0 to {}, ascending", info.layers);
    Err(instance.lied("layers", format!("the layers {layers:?}, expected {expected}")))
}

/// Rows of a sample of `tokens` tokens, and whether it has always as many.
fn rows(instance: &Instance<MobillmSelector>, tokens: usize) -> Result<(usize, bool), CallError> {
    let (mut rows, mut fixed) = (0, 0);
    // SAFETY: the instance is of this table, and both places live for the call.
    instance.call(&"rows", |table, instance, error| unsafe {
        (table.rows)(instance, tokens, &mut rows, &mut fixed, error)
    })?;
    match fixed {
        0 | 1 if rows <= tokens => Ok((rows, fixed == 1)),
        0 | 1 => {
            let problem = format!("{rows} rows of {tokens} tokens, expected at most as many");
            Err(instance.lied("rows", problem))
        }
        other => Err(instance.lied("rows", format!("`fixed` is {other}, expected 0 or 1"))),
    }
}

fn plugin(error: CallError) -> SelectorError {
    SelectorError::Plugin(error.into())
}

impl Selector for LoadedSelector {
    /// None if the plugin fails for another model than that of its assembly, whose layers it has told.
    fn layers(&self, info: &BackboneInfo) -> Vec<usize> {
        match *info == self.info {
            true => self.layers.clone(),
            false => layers(&self.instance, info).unwrap_or_default(),
        }
    }

    /// 0 if the plugin fails: selecting then fails too, and says why.
    fn rows(&self, tokens: usize) -> usize {
        rows(&self.instance, tokens).map_or(0, |(rows, _)| rows)
    }

    fn is_fixed(&self) -> bool {
        self.is_fixed
    }

    fn select(&self, tap: &Tap<'_>, memory: Vec<f32>) -> Result<Selected, SelectorError> {
        let rows = |&tokens: &usize| rows(&self.instance, tokens).map(|(rows, _)| rows);
        let rows = tap.lengths.iter().map(rows).collect::<Result<_, _>>().map_err(plugin)?;
        let mut taking = Taking { tap, rows, is_fixed: self.is_fixed, memory, taken: None };
        let called = {
            let handle = handle::lend(&mut taking);
            let selection = MobillmSelection { context: handle.context(), selected };
            tap::lend(tap, |tap| {
                // SAFETY: the instance is of this table; tap, selection and writer live for the call.
                self.instance.call(&"select", |table, instance, error| unsafe {
                    (table.select)(instance, tap, &selection, error)
                })
            })
        };
        let called = called.map_err(|problem| SelectorError::Tap { layer: tap.layer, problem })?;
        let lied = |problem| plugin(self.instance.lied("select", problem));
        match (taking.taken, called) {
            // What was wrong with the rows is the reason for how the call ended.
            (Some(Err(problem)), _) => Err(lied(problem)),
            (_, Err(error)) => Err(plugin(error)),
            (None, Ok(())) => Err(lied("no rows".to_owned())),
            (Some(Ok(selected)), Ok(())) => Ok(selected),
        }
    }
}

/// Waits for the rows of a tap.
struct Taking<'a, 't> {
    tap: &'a Tap<'t>,
    /// Those of each sample; the most of them if they are not fixed.
    rows: Vec<usize>,
    is_fixed: bool,
    memory: Vec<f32>,
    taken: Option<Result<Selected, String>>,
}

impl Taking<'_, '_> {
    /// # Safety
    /// Layout and tensor are what they say, lent for the call.
    unsafe fn take(
        &mut self,
        layout: *const MobillmLayout,
        rows: *const MobillmTensor,
    ) -> Result<Selected, String> {
        // SAFETY: as the caller promises.
        let (rows, [count, hidden]) = unsafe { elements::<f32, 2>(rows) }?;
        let expected = self.tap.hidden.dim().2;
        if hidden != expected {
            return Err(format!("rows of {hidden} values, expected {expected}"));
        }
        // Whatever `rows` says, no row is of a token that there is not.
        let most = self.rows.iter().zip(self.tap.lengths).map(|(&rows, &tokens)| rows.min(tokens));
        let most: usize = most.sum();
        if count > most {
            return Err(format!("{count} rows, expected at most {most}"));
        }
        let expected = self.rows.len();
        // SAFETY: as the caller promises.
        let samples = unsafe { one("layout", layout) }?.samples;
        if samples != expected {
            return Err(format!("a layout of {samples} samples, expected {expected}"));
        }
        // SAFETY: as the caller promises.
        let layout = unsafe { layout::read(layout, count) }?;
        self.check(&layout)?;
        let mut values = std::mem::take(&mut self.memory);
        values.clear();
        values.extend_from_slice(rows);
        let Tap { layer, hidden, .. } = self.tap;
        Selected::new(*layer, layout, hidden.dim().2, values).map_err(|error| error.to_string())
    }

    /// What [`Selector`]'s laws say of a layout. That padding never leaves is one of them.
    fn check(&self, layout: &Layout) -> Result<(), String> {
        for (sample, (&length, &rows)) in self.tap.lengths.iter().zip(&self.rows).enumerate() {
            let positions = layout.positions(sample);
            let got = positions.len();
            if got > rows || self.is_fixed && got < rows {
                return Err(format!(
                    "sample {sample} has {got} rows, expected {rows} as `rows` says"
                ));
            }
            if !positions.is_sorted_by(|a, b| a < b) {
                return Err(format!("the positions of sample {sample} are not ascending"));
            }
            if let Some(last) = positions.last().filter(|last| **last as usize >= length) {
                return Err(format!(
                    "sample {sample} has a row of token {last}, but {length} tokens"
                ));
            }
        }
        Ok(())
    }
}

unsafe extern "C" fn selected(
    context: *mut c_void,
    layout: *const MobillmLayout,
    rows: *const MobillmTensor,
) -> MobillmStatus {
    // SAFETY: layout and tensor are as the ABI says, and nothing is kept of the tap that waits.
    let status = unsafe {
        handle::reach(context, |taking: &mut Taking<'_, '_>| {
            let taken = match taking.taken {
                None => taking.take(layout, rows),
                Some(_) => Err("rows of one tap twice".to_owned()),
            };
            let status = if taken.is_ok() { MOBILLM_OK } else { MOBILLM_REFUSED };
            taking.taken = Some(taken);
            status
        })
    };
    status.unwrap_or(MOBILLM_REFUSED)
}

/// A selector that could not be built: whatever it is asked, it says why.
struct Unbuilt(CallError);

impl Selector for Unbuilt {
    fn layers(&self, _: &BackboneInfo) -> Vec<usize> {
        Vec::new()
    }

    fn rows(&self, _: usize) -> usize {
        0
    }

    fn select(&self, _: &Tap<'_>, _: Vec<f32>) -> Result<Selected, SelectorError> {
        Err(plugin(self.0.clone()))
    }
}

#[cfg(test)]
mod tests {
    use std::ptr::{from_ref, null};

    use mobillm_core::backbone::Pooling;
    use mobillm_core::fingerprint::Fingerprint;
    use ndarray::Array3;

    use super::*;
    use crate::abi::{MOBILLM_FAILED, MobillmTap, MobillmWriter};
    use crate::host::component::NONE;
    use crate::host::instance::Name;
    use crate::tensors::Lent;
    use crate::text::write;

    /// What a selector in C does with a tap, and says that all is well.
    #[derive(Clone, Copy)]
    enum Does {
        Right,
        Nothing,
        Twice,
        WithoutLayout,
        WithoutRows,
    }

    unsafe extern "C" fn select(
        instance: *mut c_void,
        _: *const MobillmTap,
        selection: *const MobillmSelection,
        _: *const MobillmWriter,
    ) -> MobillmStatus {
        let layout = Layout::from_counts([1]);
        let (layout, rows) = (layout::lend(&layout), Lent::of(&[0.5_f32; 2], [1, 2]));
        let rows = rows.tensor();
        let give = |layout: *const _, rows: *const _| {
            // SAFETY: what is not null lives for the call.
            unsafe { ((*selection).selected)((*selection).context, layout, rows) }
        };
        // SAFETY: the instance is one.
        match unsafe { *instance.cast::<Does>() } {
            Does::Right => give(&layout, &rows),
            Does::Nothing => MOBILLM_OK,
            Does::Twice => give(&layout, &rows) + give(&layout, &rows),
            Does::WithoutLayout => give(null(), &rows),
            Does::WithoutRows => give(&layout, null()),
        };
        MOBILLM_OK
    }

    unsafe extern "C" fn one(
        _: *mut c_void,
        _: usize,
        rows: *mut usize,
        fixed: *mut u32,
        _: *const MobillmWriter,
    ) -> MobillmStatus {
        // SAFETY: both places live for the call.
        unsafe {
            rows.write(1);
            fixed.write(1);
        }
        MOBILLM_OK
    }

    unsafe extern "C" fn last(
        _: *mut c_void,
        _: MobillmText,
        out: *const MobillmWriter,
        _: *const MobillmWriter,
    ) -> MobillmStatus {
        // SAFETY: the writer lives for the call.
        match unsafe { write(out, b"[4]") } {
            Ok(()) => MOBILLM_OK,
            Err(_) => MOBILLM_FAILED,
        }
    }

    static TABLE: MobillmSelector = MobillmSelector {
        size: size_of::<MobillmSelector>(),
        component: NONE,
        layers: last,
        rows: one,
        select,
    };

    fn of(does: &Does) -> LoadedSelector {
        let name = Box::leak(Box::new(Name::new("selector `acme.odd` of acme 1".to_owned())));
        let pointer = from_ref(does).cast_mut().cast();
        let info = BackboneInfo {
            architecture: "test".into(),
            layers: 4,
            hidden: 2,
            max_tokens: 16,
            vocabulary: 100,
            pooling: Pooling::Mean,
            own_outputs: None,
            language_head: false,
            bundle: Fingerprint::of(b"test"),
        };
        LoadedSelector {
            instance: Instance::new(name, &TABLE, pointer, NONE.release).unwrap(),
            info,
            layers: vec![4],
            is_fixed: true,
            one_at_a_time: PhantomData,
        }
    }

    #[test]
    fn rows_come_just_once_and_whole() {
        let hidden = Array3::zeros((1, 3, 2));
        let tap = Tap { layer: 2, hidden: hidden.view(), lengths: &[3] };
        let selector = of(&Does::Right);
        let deeper = BackboneInfo { layers: 5, ..selector.info.clone() };
        assert_eq!((selector.layers(&deeper), selector.rows(9)), (vec![4], 1));
        assert_eq!(selector.select(&tap, Vec::new()).unwrap().values(), [0.5, 0.5]);
        for (does, problem) in [
            (Does::Nothing, "no rows"),
            (Does::Twice, "rows of one tap twice"),
            (Does::WithoutLayout, "the layout is missing"),
            (Does::WithoutRows, "the tensor is missing"),
        ] {
            let said = of(&does).select(&tap, Vec::new()).unwrap_err().to_string();
            let expected = format!(
                "selector `acme.odd` of acme 1: select gave something wrong: {problem}; tell the plugin's author"
            );
            assert_eq!(said, expected);
        }
    }
}
