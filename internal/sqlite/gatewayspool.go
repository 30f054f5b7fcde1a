package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
)

// Begin implements spool.Store.
func (s *GatewayStore) Begin(ctx context.Context, boot mintmark.BootID) (lost bool, err error) {
	err = s.write(ctx, func(tx *sql.Tx) error {
		if err := tx.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM boots WHERE ended = 0)").Scan(&lost); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM boots"); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO boots (boot) VALUES (?1)", string(boot))
		return err
	})
	return lost, err
}

// End implements spool.Store.
func (s *GatewayStore) End(ctx context.Context, boot mintmark.BootID) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE boots SET ended = 1 WHERE boot = ?1", string(boot))
		return err
	})
}

// Put implements spool.Store.
func (s *GatewayStore) Put(ctx context.Context, boot mintmark.BootID, seq uint64, body []byte) (size int64, err error) {
	err = s.write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "INSERT INTO spool (boot, seq, body) VALUES (?1, ?2, ?3)", string(boot), int64(seq), body); err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, "SELECT bytes FROM spooled").Scan(&size)
	})
	return size, err
}

// Pending implements spool.Store.
func (s *GatewayStore) Pending(ctx context.Context, after int64, limit int) ([]bus.Spooled, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT id, boot, seq, body FROM spool WHERE id > ?1 ORDER BY id LIMIT ?2", after, limit)
	if err != nil {
		return nil, fmt.Errorf("read stored records: %w", gatewayError(err))
	}
	defer func() { _ = rows.Close() }()
	var out []bus.Spooled
	for rows.Next() {
		var b bus.Spooled
		if err := rows.Scan(&b.ID, &b.Boot, &b.Seq, &b.Body); err != nil {
			return nil, fmt.Errorf("read stored records: %w", gatewayError(err))
		}
		out = append(out, b)
	}
	return out, gatewayError(rows.Err())
}

// Delete implements spool.Store.
func (s *GatewayStore) Delete(ctx context.Context, boot mintmark.BootID, upto uint64, also []uint64) (size int64, err error) {
	if also == nil {
		also = []uint64{}
	}
	list, err := json.Marshal(also)
	if err != nil {
		return 0, err
	}
	err = s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM spool WHERE boot = ?1 AND (seq <= ?2 OR seq IN (SELECT value FROM json_each(?3)))", string(boot), int64(upto), string(list))
		if err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, "SELECT bytes FROM spooled").Scan(&size)
	})
	return size, err
}
