package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// joinValue is the one-time token in the answer of gateway join-token.
func joinValue(answer []byte) (string, error) {
	var a struct{ Value string }
	if err := json.Unmarshal(answer, &a); err != nil || a.Value == "" {
		return "", fmt.Errorf("gateway join-token answered %.200q", answer)
	}
	return a.Value + "\n", nil
}

// ready waits until a process says that it may decide.
func (w *world) ready(ctx context.Context, url string, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		if resp, err := http.Get(url); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: not ready within %s", url, within)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
