package main

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

var durationType = reflect.TypeFor[time.Duration]()

// decode sets target, the value of a setting, from its text. The error says what is allowed.
func decode(target reflect.Value, text string, tag *kong.Tag) error {
	if v, ok := reflect.TypeAssert[textValue](target.Addr()); ok {
		return v.parse(text, tag)
	}
	switch {
	case target.Type() == durationType:
		return decodeDuration(target, text)
	case tag.Type == "size":
		return decodeSize(target, text)
	case target.Kind() == reflect.Bool:
		return decodeBool(target, text)
	case target.CanInt():
		return decodeInt(target, text)
	default:
		return decodeString(target, text, tag)
	}
}

// encode is the reverse of decode.
func encode(value reflect.Value, tag *kong.Tag) string {
	if v, ok := reflect.TypeAssert[textValue](value.Addr()); ok {
		return v.String()
	}
	if tag.Type == "size" {
		return formatSize(value.Int())
	}
	if words, ok := reflect.TypeAssert[[]string](value); ok {
		return strings.Join(afterDashes(words), " ")
	}
	if d, ok := reflect.TypeAssert[time.Duration](value); ok {
		return formatDuration(d)
	}
	return fmt.Sprint(value.Interface())
}

// formatDuration leaves out the parts of a duration that are zero: 1m, not 1m0s.
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func decodeDuration(target reflect.Value, text string) error {
	d, err := time.ParseDuration(text)
	if err != nil {
		return errors.New("must be a duration with its unit, such as 250ms, 30s or 5m")
	}
	target.SetInt(int64(d))
	return nil
}

func decodeBool(target reflect.Value, text string) error {
	switch strings.ToLower(text) {
	case "true", "yes", "on", "1":
		target.SetBool(true)
	case "false", "no", "off", "0":
		target.SetBool(false)
	default:
		return errors.New("must be true or false")
	}
	return nil
}

func decodeInt(target reflect.Value, text string) error {
	n, err := strconv.ParseInt(text, 10, target.Type().Bits())
	if err != nil {
		return errors.New("must be a whole number")
	}
	target.SetInt(n)
	return nil
}

func decodeString(target reflect.Value, text string, tag *kong.Tag) error {
	if allowed := tag.Get("allowed"); allowed != "" {
		if choices := strings.Split(allowed, ","); !slices.Contains(choices, text) {
			return fmt.Errorf("allowed: %s", strings.Join(choices, ", "))
		}
	}
	target.SetString(text)
	return nil
}

// sizeUnits are the units a size may have, in lower case: powers of 1024 with an i, of 1000 without.
var sizeUnits = map[string]int64{
	"": 1, "b": 1,
	"k": 1e3, "kb": 1e3, "ki": 1 << 10, "kib": 1 << 10,
	"m": 1e6, "mb": 1e6, "mi": 1 << 20, "mib": 1 << 20,
	"g": 1e9, "gb": 1e9, "gi": 1 << 30, "gib": 1 << 30,
	"t": 1e12, "tb": 1e12, "ti": 1 << 40, "tib": 1 << 40,
}

func decodeSize(target reflect.Value, text string) error {
	n, err := parseSize(text)
	if err != nil || target.OverflowInt(n) {
		return errors.New("must be a size in bytes, such as 4096, 64KiB or 10MB")
	}
	target.SetInt(n)
	return nil
}

// parseSize reads a size: digits, then perhaps a unit.
func parseSize(text string) (int64, error) {
	digits := strings.TrimRight(text, "bBiIkKmMgGtT ")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return 0, err
	}
	unit, ok := sizeUnits[strings.ToLower(strings.TrimSpace(text[len(digits):]))]
	if !ok || n > math.MaxInt64/unit || n < math.MinInt64/unit {
		return 0, strconv.ErrRange
	}
	return n * unit, nil
}

// formatSize writes a size in the largest unit of 1024 that keeps it whole.
func formatSize(n int64) string {
	units := []string{"", "KiB", "MiB", "GiB", "TiB"}
	i := 0
	for n != 0 && n%1024 == 0 && i < len(units)-1 {
		n /= 1024
		i++
	}
	return strconv.FormatInt(n, 10) + units[i]
}
