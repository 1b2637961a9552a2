//! Merges of byte pairs: as a file lists them, or as the scores of a SentencePiece vocabulary imply.

use std::cmp::Reverse;
use std::collections::HashMap;

use mobillm_gguf::GgufError;

/// Pieces are no longer than this, bytes: each is cut at every character.
const LONGEST_PIECE: usize = 1024;

/// The merges that are listed in `texts`, each as two tokens with a space between them.
pub(super) fn listed<'a>(key: &str, texts: &[&'a str]) -> Result<Vec<[&'a str; 2]>, GgufError> {
    let pairs = texts.iter().enumerate().map(|(index, text)| match text.split_once(' ') {
        Some((left, right)) if !(left.is_empty() || right.is_empty() || right.contains(' ')) => {
            Ok([left, right])
        }
        _ => {
            let problem = format!("is {text:?}, expected two tokens with a space between them");
            Err(GgufError::metadata(format!("{key}[{index}]"), problem))
        }
    });
    pairs.collect()
}

/// The merges by which a SentencePiece model of byte pairs makes its `pieces`: each pair of pieces that
/// is a piece, the best score first. `pieces` are (index in the vocabulary, piece, score).
pub(super) fn implied<'a>(
    key: &str,
    pieces: &[(usize, &'a str, f64)],
) -> Result<Vec<[&'a str; 2]>, GgufError> {
    let index: HashMap<&str, usize> = pieces.iter().map(|(id, piece, _)| (*piece, *id)).collect();
    let mut merges = Vec::new();
    for &(id, piece, score) in pieces {
        if piece.len() > LONGEST_PIECE {
            let problem = format!("has {} bytes, expected up to {LONGEST_PIECE}", piece.len());
            return Err(GgufError::metadata(format!("{key}[{id}]"), problem));
        }
        let first = merges.len();
        for (at, _) in piece.char_indices().skip(1) {
            let (left, right) = piece.split_at(at);
            if let (Some(&left_id), Some(&right_id)) = (index.get(left), index.get(right)) {
                merges.push((score, [left, right], [left_id, right_id]));
            }
        }
        merges[first..].sort_by_key(|(.., ids)| *ids);
    }
    // Stable: what is equal stays in the order of the vocabulary, as in `transformers`.
    let characters = |[left, right]: [&str; 2]| [left, right].map(|part| part.chars().count());
    merges.sort_by(|(a, left, _), (b, right, _)| {
        b.total_cmp(a).then_with(|| Reverse(characters(*left)).cmp(&Reverse(characters(*right))))
    });
    Ok(merges.into_iter().map(|(_, pair, _)| pair).collect())
}
