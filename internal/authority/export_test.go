package authority

import "context"

// Tend is what Run does by itself from time to time.
func (a *Authority) Tend(ctx context.Context) error { return a.tend(ctx) }
