package http2_test

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2/hpack"

	"github.com/fnpod/fnpod/proxy/http2"
)

// decode returns the fields of a block as "name: value".
func decode(d *http2.Decoder, block []byte) (fields []string, err error) {
	err = d.Decode(block, func(name, value []byte) { fields = append(fields, string(name)+": "+string(value)) })
	return fields, err
}

// appendTableSize appends a size update of the dynamic table, RFC 7541 §6.3.
func appendTableSize(dst []byte, n int) []byte {
	const most = 1<<5 - 1
	if n < most {
		return append(dst, 0x20|byte(n))
	}
	return binary.AppendUvarint(append(dst, 0x20|most), uint64(n-most))
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	raw, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	require.NoError(t, err)
	return raw
}

const (
	answer302 = ":status: 302, cache-control: private, date: Mon, 21 Oct 2013 20:13:21 GMT, location: https://www.example.com"
	answer307 = ":status: 307, cache-control: private, date: Mon, 21 Oct 2013 20:13:21 GMT, location: https://www.example.com"
	answer200 = ":status: 200, cache-control: private, date: Mon, 21 Oct 2013 20:13:22 GMT, location: https://www.example.com, content-encoding: gzip, " +
		"set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"
	request1 = ":method: GET, :scheme: http, :path: /, :authority: www.example.com"
	request2 = request1 + ", cache-control: no-cache"
	request3 = ":method: GET, :scheme: https, :path: /index.html, :authority: www.example.com, custom-key: custom-value"
)

// examples are the blocks of RFC 7541 appendix C; those of one section share a decoder.
var examples = []struct {
	section string
	table   int
	blocks  [][2]string // bytes, fields
}{
	{"C.2.1", 4096, [][2]string{{"400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572", "custom-key: custom-header"}}},
	{"C.2.2", 4096, [][2]string{{"040c 2f73 616d 706c 652f 7061 7468", ":path: /sample/path"}}},
	{"C.2.3", 4096, [][2]string{{"1008 7061 7373 776f 7264 0673 6563 7265 74", "password: secret"}}},
	{"C.2.4", 4096, [][2]string{{"82", ":method: GET"}}},
	{"C.3", 4096, [][2]string{
		{"8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", request1},
		{"8286 84be 5808 6e6f 2d63 6163 6865", request2},
		{"8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65", request3},
	}},
	{"C.4", 4096, [][2]string{
		{"8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", request1},
		{"8286 84be 5886 a8eb 1064 9cbf", request2},
		{"8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf", request3},
	}},
	{"C.5", 256, [][2]string{
		{"4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d 546e " +
			"1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", answer302},
		{"4803 3330 37c1 c0bf", answer307},
		{"88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f 6f3d " +
			"4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31", answer200},
	}},
	{"C.6", 256, [][2]string{
		{"4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b " +
			"97c8 e9ae 82ae 43d3", answer302},
		{"4883 640e ffc1 c0bf", answer307},
		{"88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf " +
			"cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07", answer200},
	}},
}

func TestRFC7541AppendixC(t *testing.T) {
	for _, e := range examples {
		d := http2.NewDecoder(e.table)
		for i, b := range e.blocks {
			fields, err := decode(d, unhex(t, b[0]))
			require.NoError(t, err)
			require.Equal(t, b[1], strings.Join(fields, ", "), "%s, block %d", e.section, i+1)
		}
	}
}

// Sections are those of RFC 7541.
func TestMalformedBlocksAreRefused(t *testing.T) {
	for _, c := range []struct{ rule, block string }{
		{"2.3.3: index behind both tables", "be"},
		{"2.3.3: index far behind both tables", "ff80ffffff07"},
		{"2.3.3: name behind both tables", "7f00 0161"},
		{"4.2: size update behind a field", "82 20"},
		{"5.1: number ends early", "ff"},
		{"5.1: number ends early in its further bytes", "ff80"},
		{"5.1: number of five further bytes", "ff8080808001"},
		{"5.1: number of five further bytes that are all zero", "ff8080808000"},
		{"5.1: number larger than 64 bits", "7fffffffffffffffffffff01"},
		{"5.2: no name", "40"},
		{"5.2: name ends early", "4002 61"},
		{"5.2: no value", "4001 61"},
		{"5.2: value ends early", "4001 6102 62"},
		{"5.2: length ends early", "4001 617f"},
		{"5.2: name without value, by index", "44"},
		{"5.2: end of string within", "0084 ffff fffc 00"},
		{"5.2: end of string at the end of a long one", "008c 1863 1863 1863 1863 ffff fffc 00"},
		{"5.2: end of string in a long value behind a coded name", "0082 1863 88 ffff fffc 1863 1863"},
		{"5.2: padding of eight ones", "0081 ff 00"},
		{"5.2: padding of eight ones behind a byte", "0082 1fff 00"},
		{"5.2: padding of ten ones behind a byte of six bits", "0082 53ff 00"},
		{"5.2: padding with zeros", "0081 18 00"},
		{"5.2: padding with one zero", "0081 1e 00"},
		{"5.2: long code broken off", "0082 fffe 00"},
		{"6.1: index 0", "80"},
		{"6.3: size above the announced one", "3fe2 1f"},
		{"6.3: size above 32 bits", "3fff ffff ff7f"},
	} {
		d := http2.NewDecoder(4096)
		_, err := decode(d, unhex(t, c.block))
		require.ErrorIs(t, err, http2.ErrCompression, c.rule)
	}
}

func TestRFC7541Section42SizeUpdates(t *testing.T) {
	d := http2.NewDecoder(4096)
	_, err := decode(d, unhex(t, "4001 6101 31 4001 6201 32")) // 62 is b: 2, 63 is a: 1
	require.NoError(t, err)
	fields, err := decode(d, unhex(t, "3f09 3fe1 1f be")) // the smallest size and the last one: 40 drops one entry
	require.NoError(t, err)
	require.Equal(t, []string{"b: 2"}, fields)
	_, err = decode(d, unhex(t, "bf"))
	require.ErrorIs(t, err, http2.ErrCompression)

	d = http2.NewDecoder(4096)
	_, err = decode(d, unhex(t, "20 4001 6101 31")) // nothing is kept
	require.NoError(t, err)
	_, err = decode(d, unhex(t, "be"))
	require.ErrorIs(t, err, http2.ErrCompression)
}

// The size is 4096 until an update says otherwise, however much we announced; less than that holds at once.
func TestRFC7541Section42FirstSize(t *testing.T) {
	value := strings.Repeat("v", 1967) // 2000 bytes each
	for announced, kept := range map[int]int{100000: 2, 4096: 2, 4000: 2, 3999: 1, 1999: 0, 0: 0} {
		d := http2.NewDecoder(announced)
		for range 3 {
			_, err := decode(d, append([]byte{0x40, 1, 'a', 0x7f, 0xb0, 0x0e}, value...))
			require.NoError(t, err)
		}
		for i := range 3 {
			_, err := decode(d, []byte{0xbe + byte(i)})
			require.Equal(t, i < kept, err == nil, "announced %d, entry %d", announced, i)
		}
	}
	d := http2.NewDecoder(100000)
	fields, err := decode(d, append(appendTableSize(nil, 100000), unhex(t, "4001 6101 31 be")...))
	require.NoError(t, err)
	require.Equal(t, []string{"a: 1", "a: 1"}, fields)
}

func TestRFC7541Section44NameOfAnEvictedEntry(t *testing.T) {
	d := http2.NewDecoder(64)
	block := unhex(t, "4005 616c 7068 6101 31")
	for i := range 200 { // around the buffer a few times, values of different lengths
		value := strings.Repeat("x", i%20)
		block = append(block, 0x7e, byte(len(value)))
		block = append(block, value...)
	}
	fields, err := decode(d, block)
	require.NoError(t, err)
	for i, f := range fields[1:] {
		require.Equal(t, "alpha: "+strings.Repeat("x", i%20), f)
	}
}

func TestRFC7541Section44EntryLargerThanTheTable(t *testing.T) {
	d := http2.NewDecoder(64)
	fields, err := decode(d, unhex(t, "4001 6101 31 be"))
	require.NoError(t, err)
	require.Equal(t, []string{"a: 1", "a: 1"}, fields)
	fields, err = decode(d, append([]byte{0x7e, 32}, make([]byte, 32)...)) // 65 bytes, and its name is the entry that goes
	require.NoError(t, err)
	require.Equal(t, []string{"a: " + strings.Repeat("\x00", 32)}, fields)
	_, err = decode(d, []byte{0xbe})
	require.ErrorIs(t, err, http2.ErrCompression)
}

// Appendices A and B, each entry and each byte.
func TestRFC7541StaticTableAndHuffmanCode(t *testing.T) {
	d, ref := http2.NewDecoder(4096), hpack.NewDecoder(4096, nil)
	for i := 1; i <= 61; i++ {
		block := []byte{0x80 | byte(i)}
		want, err := ref.DecodeFull(block)
		require.NoError(t, err)
		got, err := decode(d, block)
		require.NoError(t, err)
		require.Equal(t, []string{want[0].Name + ": " + want[0].Value}, got)
		require.Equal(t, block, http2.AppendField(nil, []byte(want[0].Name), []byte(want[0].Value)))
	}
	for c := range 256 {
		for n := range 20 { // at each offset of bits, with the fast path and without
			s := strings.Repeat(string([]byte{byte(c)}), n) + "a" + string([]byte{byte(c)})
			coded := hpack.AppendHuffmanString(nil, s)
			require.Less(t, len(coded), 127)
			block := append([]byte{0x00, 0, 0x80 | byte(len(coded))}, coded...)
			got, err := decode(d, block)
			require.NoError(t, err)
			require.Equal(t, []string{": " + s}, got)
		}
	}
}

func TestRFC9113Section81StatusIsIndexedOrThreeDigits(t *testing.T) {
	d := http2.NewDecoder(4096)
	for code := 100; code <= 999; code++ {
		block := http2.AppendStatus([]byte{}, code)
		got, err := decode(d, block)
		require.NoError(t, err)
		require.Equal(t, []string{fmt.Sprintf(":status: %d", code)}, got)
		require.Equal(t, block, http2.AppendField(nil, []byte(":status"), fmt.Append(nil, code)))
	}
	for i, code := range []int{200, 204, 206, 304, 400, 404, 500} {
		require.Equal(t, []byte{byte(0x88 + i)}, http2.AppendStatus(nil, code))
	}
}

func TestNumbersOfEachLength(t *testing.T) {
	d := http2.NewDecoder(1 << 28)
	for _, n := range []int{0, 1, 30, 31, 32, 158, 159, 160, 16414, 16415, 1 << 20, 1<<28 - 1, 1 << 28} {
		_, err := decode(d, appendTableSize(nil, n))
		require.NoError(t, err, n)
		_, err = decode(http2.NewDecoder(n-1), appendTableSize(nil, n))
		require.ErrorIs(t, err, http2.ErrCompression, n)
	}
	for _, n := range []int{126, 127, 128, 254, 255, 256, 16510, 16511, 1 << 20} {
		value := strings.Repeat("v", n)
		got, err := decode(d, http2.AppendField(nil, []byte("n"), []byte(value)))
		require.NoError(t, err)
		require.Equal(t, []string{"n: " + value}, got)
	}
}
