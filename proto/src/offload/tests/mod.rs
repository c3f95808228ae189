//! Cutting and merging against frames that pnet helped to make.

mod checksums;
mod cut;
mod frames;
mod merge;
mod streams;
