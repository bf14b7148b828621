"""From paired sources or spectra to phi(E), its posterior, and the bias of temperatures."""
