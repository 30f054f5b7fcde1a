//go:build uncounted

package gateway

const counting = false
