//go:build !linux

package verifier

import "unsafe"

// adviseHuge does nothing: here pages are the system's business.
func adviseHuge(unsafe.Pointer, uintptr) {}
