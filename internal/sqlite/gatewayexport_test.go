package sqlite

import (
	"context"
	"fmt"
)

// SetFormat pretends that another version wrote the file.
func (s *GatewayStore) SetFormat(ctx context.Context, format int) error {
	_, err := s.db.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", format))
	return err
}
