//! Every mechanism of the HSM over its backend, key material types, and the one table of mechanisms
