//! The transparency-log node: admission, sequencing, tiles, witnessing.
