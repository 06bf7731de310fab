//! The bodies of the fuzz targets of what is not public; those of the engine are in [`log::fuzz`](crate::log::fuzz).

/// Decodes any bytes as a pickle.
pub fn pickle_decode(data: &[u8]) {
    crate::entry::pickle::fuzz(data);
}
