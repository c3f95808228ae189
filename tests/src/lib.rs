//! What mesh promises, tested from outside: the simulator, network namespaces, container engines, fuzz targets.
#![forbid(unsafe_code)]

pub mod sim;
