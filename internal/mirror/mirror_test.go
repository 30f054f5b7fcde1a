package mirror

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// No more run at once, and no more wait, than there is room for; what breaks takes
// nothing with it; and Run ends with its context.
func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(Config{Workers: 2, Waiting: 3, Timeout: time.Second})
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); _ = q.Run(ctx) }()
		var running, most, ended atomic.Int32
		job := func(ctx context.Context) {
			n := running.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			<-ctx.Done() // hangs until its time is over
			running.Add(-1)
			ended.Add(1)
			panic("broke")
		}
		for i := range 2 {
			if !q.Offer(job) {
				t.Fatalf("job %d found no room", i)
			}
			synctest.Wait()
		}
		taken := 0
		for range 10 {
			if q.Offer(job) {
				taken++
			}
		}
		if taken != 3 {
			t.Errorf("%d wait, want 3", taken)
		}
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if most.Load() != 2 || ended.Load() != 5 {
			t.Errorf("%d at once and %d ended, want 2 and 5", most.Load(), ended.Load())
		}
		stop()
		<-done
	})
}
