package nuclio

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Schedule tells when a clock is due. The zero value never is.
type Schedule struct {
	every time.Duration

	second, minute, hour, day, month, weekday uint64 // bits of the values that are due
	anyDay, anyWeekday                        bool
	location                                  *time.Location
}

// Every returns a schedule that is due again and again, d apart.
func Every(d time.Duration) Schedule { return Schedule{every: d} }

// descriptors are names of schedules.
var descriptors = map[string]string{
	"@yearly": "0 0 0 1 1 *", "@annually": "0 0 0 1 1 *", "@monthly": "0 0 0 1 * *", "@weekly": "0 0 0 * * 0",
	"@daily": "0 0 0 * * *", "@midnight": "0 0 0 * * *", "@hourly": "0 0 * * * *",
}

var (
	monthNames = []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}
	dayNames   = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}
)

// ParseSchedule reads five fields as in crontab(5), or six with the second before them, or one of @hourly, @daily,
// @weekly, @monthly, @yearly and @every DURATION. A * as second means 0: else the function would run all the time.
// CRON_TZ=NAME or TZ=NAME in front is the zone of the clock.
func ParseSchedule(text string) (s Schedule, err error) {
	s.location = time.Local
	if zone, rest, ok := strings.Cut(strings.TrimSpace(text), " "); ok && strings.Contains(zone, "TZ=") {
		_, name, _ := strings.Cut(zone, "TZ=")
		if s.location, err = time.LoadLocation(name); err != nil {
			return Schedule{}, err
		}
		text = rest
	}
	text = strings.TrimSpace(text)
	if every, ok := strings.CutPrefix(text, "@every "); ok {
		d, err := time.ParseDuration(strings.TrimSpace(every))
		if err != nil || d < time.Second {
			return Schedule{}, errors.New("after @every there must be a duration of at least 1s")
		}
		return Every(d), nil
	}
	if known, ok := descriptors[text]; ok {
		text = known
	}
	fields := strings.Fields(text)
	if len(fields) == 5 {
		fields = append([]string{"0"}, fields...)
	}
	if len(fields) != 6 {
		return Schedule{}, fmt.Errorf("has %d fields: there must be 5, or 6 with seconds", len(fields))
	}
	if fields[0] == "*" || fields[0] == "?" {
		fields[0] = "0"
	}
	for i, part := range []struct {
		name      string
		bits      *uint64
		low, high int
		names     []string
	}{
		{"second", &s.second, 0, 59, nil},
		{"minute", &s.minute, 0, 59, nil},
		{"hour", &s.hour, 0, 23, nil},
		{"day of month", &s.day, 1, 31, nil},
		{"month", &s.month, 1, 12, monthNames},
		{"day of week", &s.weekday, 0, 7, dayNames},
	} {
		if *part.bits, err = bitsOf(fields[i], part.low, part.high, part.names); err != nil {
			return Schedule{}, fmt.Errorf("%s %q: %w", part.name, fields[i], err)
		}
	}
	s.weekday = (s.weekday | s.weekday>>7) & 0x7f // 7 is Sunday, too
	s.anyDay, s.anyWeekday = strings.HasPrefix(fields[3], "*") || fields[3] == "?", strings.HasPrefix(fields[5], "*") || fields[5] == "?"
	return s, nil
}

// bitsOf reads a list of values, ranges and steps.
func bitsOf(text string, low, high int, names []string) (bits uint64, err error) {
	for part := range strings.SplitSeq(text, ",") {
		span, stepText, stepped := strings.Cut(part, "/")
		step := 1
		if stepped {
			if step, err = strconv.Atoi(stepText); err != nil || step < 1 {
				return 0, errors.New("a step must be a whole number from 1")
			}
		}
		first, last := low, high
		if span != "*" && span != "?" {
			from, to, isRange := strings.Cut(span, "-")
			if first, err = valueOf(from, low, high, names); err != nil {
				return 0, err
			}
			switch {
			case isRange:
				if last, err = valueOf(to, low, high, names); err != nil {
					return 0, err
				}
			case !stepped:
				last = first
			}
		}
		if first > last {
			return 0, errors.New("a range must not go backwards")
		}
		for v := first; v <= last; v += step {
			bits |= 1 << v
		}
	}
	return bits, nil
}

func valueOf(text string, low, high int, names []string) (int, error) {
	for i, name := range names {
		if strings.EqualFold(text, name) {
			return i + low, nil
		}
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < low || n > high {
		return 0, fmt.Errorf("allowed are %d to %d", low, high)
	}
	return n, nil
}

// horizon is as far as Next looks: a leap day comes within eight years.
const horizon = 9 * 366

// Next returns the first time after t at which the clock is due; the zero time if there is none.
func (s Schedule) Next(t time.Time) time.Time {
	if s.every > 0 {
		return t.Add(s.every)
	}
	if s.minute == 0 {
		return time.Time{}
	}
	t = t.In(s.location).Truncate(time.Second).Add(time.Second)
	for range horizon {
		if s.onDay(t) {
			day := t.YearDay()
			for ; t.YearDay() == day; t = nextMinute(t) {
				if s.hour&(1<<t.Hour()) == 0 || s.minute&(1<<t.Minute()) == 0 {
					continue
				}
				for second := t.Second(); second < 60; second++ {
					if s.second&(1<<second) != 0 {
						return t.Add(time.Duration(second-t.Second()) * time.Second)
					}
				}
			}
			continue
		}
		t = time.Date(t.Year(), t.Month(), t.Day()+1, 0, 0, 0, 0, t.Location())
	}
	return time.Time{}
}

func nextMinute(t time.Time) time.Time { return t.Add(time.Duration(60-t.Second()) * time.Second) }

// onDay reports whether the clock may be due on the day of t. Where both the day of the month and that of the week are
// given, either will do, as in crontab(5).
func (s Schedule) onDay(t time.Time) bool {
	if s.month&(1<<t.Month()) == 0 {
		return false
	}
	day, weekday := s.day&(1<<t.Day()) != 0, s.weekday&(1<<t.Weekday()) != 0
	if s.anyDay || s.anyWeekday {
		return day && weekday
	}
	return day || weekday
}
