//! URL paths of tiles and bundles (tlog-tiles, sections "Merkle Tree" and "Log entries").

use core::fmt;
use core::str::FromStr;

use super::{BundleId, TileError, TileId, Width};
use crate::text::parse_decimal;

/// What a path below a log's prefix names. `Display` writes the path, without a leading slash.
///
/// ```
/// use counterfoil_tlog::tile::ResourcePath;
///
/// let ResourcePath::Tile(tile) = ResourcePath::parse("tile/0/x001/x234/067.p/8")? else { panic!() };
/// assert_eq!((tile.level(), tile.index(), tile.width().get()), (0, 1_234_067, 8));
/// # Ok::<(), counterfoil_tlog::tile::TileError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourcePath {
    /// `tile/entries/<N>[.p/<W>]`
    Bundle(BundleId),
    /// `tile/<L>/<N>[.p/<W>]`
    Tile(TileId),
}

impl ResourcePath {
    /// Parses a path. Only the canonical spelling is accepted, so one resource has one path and no
    /// path can leave its directory.
    ///
    /// # Errors
    /// [`TileError::Path`].
    pub fn parse(path: &str) -> Result<Self, TileError> {
        Self::parse_parts(path).ok_or(TileError::Path)
    }

    fn parse_parts(path: &str) -> Option<Self> {
        let (level, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let (index, width) = match rest.split_once(".p/") {
            Some((index, width)) => {
                let width = u16::try_from(parse_decimal(width)?).ok()?;
                (index, Width::new(width).filter(|width| !width.is_full())?)
            }
            None => (rest, Width::FULL),
        };
        let index = parse_index(index)?;
        if level == "entries" {
            return Some(Self::Bundle(BundleId { index, width }));
        }
        let level = u8::try_from(parse_decimal(level)?).ok()?;
        TileId::new(level, index, width).map(Self::Tile)
    }
}

impl fmt::Display for ResourcePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bundle(bundle) => fmt::Display::fmt(bundle, f),
            Self::Tile(tile) => fmt::Display::fmt(tile, f),
        }
    }
}

impl FromStr for ResourcePath {
    type Err = TileError;

    fn from_str(path: &str) -> Result<Self, TileError> {
        Self::parse(path)
    }
}

impl TileId {
    /// The path of the tile below the log's prefix, without a leading slash.
    #[must_use]
    pub fn path(self) -> String {
        self.to_string()
    }

    /// Parses a tile path, refusing bundle paths.
    ///
    /// # Errors
    /// [`TileError::Path`].
    pub fn parse(path: &str) -> Result<Self, TileError> {
        match ResourcePath::parse(path)? {
            ResourcePath::Tile(tile) => Ok(tile),
            ResourcePath::Bundle(_) => Err(TileError::Path),
        }
    }
}

impl fmt::Display for TileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tile/{}/", self.level)?;
        write_index(f, self.index, self.width)
    }
}

impl BundleId {
    /// The path of the bundle below the log's prefix, without a leading slash.
    #[must_use]
    pub fn path(self) -> String {
        self.to_string()
    }

    /// Parses a bundle path, refusing hash tile paths.
    ///
    /// # Errors
    /// [`TileError::Path`].
    pub fn parse(path: &str) -> Result<Self, TileError> {
        match ResourcePath::parse(path)? {
            ResourcePath::Bundle(bundle) => Ok(bundle),
            ResourcePath::Tile(_) => Err(TileError::Path),
        }
    }
}

impl fmt::Display for BundleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tile/entries/")?;
        write_index(f, self.index, self.width)
    }
}

/// Parses three-digit groups, all but the last with an `x` in front and the first not `x000`.
fn parse_index(text: &str) -> Option<u64> {
    let (leading, last) = text.rsplit_once('/').unwrap_or(("", text));
    let mut index: u64 = 0;
    if !leading.is_empty() {
        for group in leading.split('/') {
            index = index
                .checked_mul(1000)?
                .checked_add(parse_group(group.strip_prefix('x')?)?)?;
            // A leading group of zeroes would be a second spelling of the same index.
            if index == 0 {
                return None;
            }
        }
    } else if last.len() != text.len() {
        return None;
    }
    index.checked_mul(1000)?.checked_add(parse_group(last)?)
}

fn parse_group(group: &str) -> Option<u64> {
    (group.len() == 3 && group.bytes().all(|b| b.is_ascii_digit())).then(|| group.parse().ok())?
}

fn write_index(f: &mut fmt::Formatter<'_>, index: u64, width: Width) -> fmt::Result {
    let mut groups = vec![index % 1000];
    let mut rest = index / 1000;
    while rest > 0 {
        groups.push(rest % 1000);
        rest /= 1000;
    }
    for (position, group) in groups.iter().enumerate().rev() {
        if position > 0 {
            write!(f, "x{group:03}/")?
        } else {
            write!(f, "{group:03}")?
        }
    }
    if width.is_full() {
        Ok(())
    } else {
        write!(f, ".p/{}", width.get())
    }
}
