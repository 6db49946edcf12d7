package broker

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// heard is what the broker was told, by packet type and number.
type heard []string

func (h *heard) send(p []byte) {
	names := map[byte]string{packetPuback: "ack", packetPubrec: "rec", packetPubcomp: "comp"}
	*h = append(*h, fmt.Sprintf("%s %d", names[p[0]], int(p[2])<<8|int(p[3])))
}

// MQTT 3.1.1, section 4.6: acknowledgements are in the order in which messages came.
func TestWindowAcknowledgesInOrder(t *testing.T) {
	var h heard
	w := newWindow()
	w.open(h.send, false)
	a, _ := w.arrive(1, 1, false)
	b, _ := w.arrive(2, 2, false)
	c, _ := w.arrive(3, 1, false)
	w.handle(c)
	w.handle(b)
	require.Empty(t, h)
	w.handle(a)
	require.Equal(t, heard{"ack 1", "rec 2", "ack 3"}, h)
	w.release(2)
	w.release(9)
	require.Equal(t, heard{"comp 2", "comp 9"}, h[3:], "section 4.3.3: also what is not known")
	_, fresh := w.arrive(2, 2, false)
	require.True(t, fresh)
}

// Section 4.4: what was not acknowledged comes again, and is not handled twice.
func TestWindowOutlivesConnections(t *testing.T) {
	var h heard
	w := newWindow()
	w.open(h.send, true)
	a, _ := w.arrive(1, 1, false)
	b, _ := w.arrive(2, 1, false)
	d, _ := w.arrive(4, 2, false)
	w.close()
	w.handle(b)
	w.handle(d)
	require.Empty(t, h)
	w.open(h.send, true)
	require.Empty(t, h, "not before the broker has sent it again")
	for _, id := range []uint16{1, 2} {
		_, fresh := w.arrive(id, 1, true)
		require.False(t, fresh)
	}
	require.Empty(t, h)
	w.handle(a)
	require.Equal(t, heard{"ack 1", "ack 2"}, h)
	_, fresh := w.arrive(4, 2, true)
	require.False(t, fresh)
	require.Equal(t, "rec 4", h[2])
	w.open(h.send, true) // the broker has not read that
	_, fresh = w.arrive(4, 2, true)
	require.False(t, fresh)
	require.Equal(t, "rec 4", h[3])
	w.release(4)
	require.Equal(t, "comp 4", h[4])

	c, _ := w.arrive(5, 1, false)
	w.open(h.send, false) // the session is gone: 5 is another message
	_, fresh = w.arrive(5, 1, false)
	require.True(t, fresh)
	w.handle(c)
	require.Len(t, h, 5)
}

// A broker that sends everything, loses connections and keeps the session hears of each message exactly once per number,
// whatever the order in which handlers end.
func TestWindowNeverLosesOrRepeats(t *testing.T) {
	for range 200 {
		var h heard
		w := newWindow()
		w.open(h.send, true)
		unheard := []uint16{}
		work := map[uint16]*held{}
		next, handled, heardOf := uint16(1), 0, 0
		read := func() { // what the broker reads
			for _, line := range h {
				var id uint16
				_, err := fmt.Sscanf(line, "ack %d", &id)
				require.NoError(t, err)
				require.Equal(t, unheard[0], id, "in order")
				unheard = unheard[1:]
				heardOf++
			}
			h = nil
		}
		for range 200 {
			switch rand.IntN(4) {
			case 0, 1:
				if len(unheard) < 10 {
					held, fresh := w.arrive(next, 1, false)
					require.True(t, fresh)
					work[next], unheard = held, append(unheard, next)
					next++
				}
			case 2:
				for id, held := range work {
					w.handle(held)
					delete(work, id)
					handled++
					break
				}
			case 3:
				if rand.IntN(2) == 0 {
					h = nil // it was not read
				}
				read()
				w.close()
				w.open(h.send, true)
				for _, id := range unheard {
					if held, fresh := w.arrive(id, 1, true); fresh { // it was handled, and the broker does not know
						work[id] = held
						handled--
					}
				}
			}
			read()
		}
		for _, held := range work {
			w.handle(held)
			handled++
		}
		read()
		require.Empty(t, unheard)
		require.Equal(t, int(next)-1, heardOf)
		require.Equal(t, int(next)-1, handled)
	}
}
