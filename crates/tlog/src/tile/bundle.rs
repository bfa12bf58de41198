//! The bytes of entry bundles (tlog-tiles, section "Log entries").

use super::{TileError, Width};

/// The largest entry in bytes: its length must fit 16 bits.
pub const MAX_ENTRY_BYTES: usize = 65_535;

/// Appends one entry, its big-endian 16-bit length in front, to the bytes of a bundle.
///
/// # Errors
/// [`TileError::EntryTooLarge`]; the bundle is then unchanged.
pub fn push_entry(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<(), TileError> {
    let length = u16::try_from(entry.len()).map_err(|_| TileError::EntryTooLarge(entry.len()))?;
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
    Ok(())
}

/// Splits a bundle into its entries.
///
/// # Errors
/// [`TileError::BundleCutOff`] when the bytes end inside an entry, [`TileError::BundleCount`]
/// unless there are exactly `width` entries and nothing behind them.
pub fn parse_bundle(bytes: &[u8], width: Width) -> Result<Vec<&[u8]>, TileError> {
    let mut entries = Vec::with_capacity(usize::from(width.get()));
    let mut rest = bytes;
    while !rest.is_empty() {
        let position = entries.len();
        if position == usize::from(width.get()) {
            return Err(TileError::BundleCount(width.get()));
        }
        let cut_off = TileError::BundleCutOff(position);
        let (length, tail) = rest.split_first_chunk::<2>().ok_or(cut_off)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (entry, tail) = tail.split_at_checked(length).ok_or(cut_off)?;
        entries.push(entry);
        rest = tail;
    }
    if entries.len() != usize::from(width.get()) {
        return Err(TileError::BundleCount(width.get()));
    }
    Ok(entries)
}
