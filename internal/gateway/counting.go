//go:build !uncounted

package gateway

// counting says that decisions are accounted for. The tag uncounted is for the
// benchmark alone, which asks what that costs; nothing else is ever built with it.
const counting = true
