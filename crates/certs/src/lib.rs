//! Certificates: read from files, or got by ACME, and handed to the proxy.
