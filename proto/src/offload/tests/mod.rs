//! Segmentation and merging, compared with frames built with pnet.

mod checksums;
mod cut;
mod frames;
mod merge;
mod streams;
