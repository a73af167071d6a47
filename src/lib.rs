//! Distributary.
