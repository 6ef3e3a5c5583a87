//! Scripts of manifests and events, with what becomes of them as text.
