package main

import (
	"bytes"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	plotting "gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// plotLine is one line of a plot.
type plotLine struct {
	name   string
	points plotter.XYs
}

func (l *plotLine) add(x, y float64) { l.points = append(l.points, plotter.XY{X: x, Y: y}) }

// plot is a picture of some lines.
type plot struct {
	title, x, y string
	logX, logY  bool // powers of ten have the same distance
	lines       []plotLine
}

// colors are those of Okabe and Ito, which all eyes can tell apart.
var colors = []color.Color{
	color.RGBA{213, 94, 0, 255},
	color.RGBA{0, 114, 178, 255},
	color.RGBA{230, 159, 0, 255},
	color.RGBA{86, 180, 233, 255},
	color.RGBA{0, 158, 115, 255},
	color.RGBA{204, 121, 167, 255},
}

// powers are ticks at the powers of ten, which is enough for scales of them.
type powers struct{}

// Ticks implements plotting.Ticker.
func (powers) Ticks(low, high float64) (ticks []plotting.Tick) {
	for exponent := math.Floor(math.Log10(low)); exponent <= math.Ceil(math.Log10(high)); exponent++ {
		if v := math.Pow(10, exponent); v >= low && v <= high {
			ticks = append(ticks, plotting.Tick{Value: v, Label: strconv.FormatFloat(v, 'f', -1, 64)})
		}
	}
	return ticks
}

// Size of a plot, and how much of its width has the names of the lines.
const (
	plotWidth   = 22 * vg.Centimeter
	plotHeight  = 10 * vg.Centimeter
	legendWidth = 7 * vg.Centimeter
)

// write draws the plot into a file; the name's end says in which format.
func (p plot) write(name string) error {
	canvas, legend := plotting.New(), plotting.NewLegend()
	canvas.Title.Text, canvas.X.Label.Text, canvas.Y.Label.Text = p.title, p.x, p.y
	if p.logX {
		canvas.X.Scale, canvas.X.Tick.Marker = plotting.LogScale{}, powers{}
	}
	if p.logY {
		canvas.Y.Scale, canvas.Y.Tick.Marker = plotting.LogScale{}, powers{}
	} else {
		canvas.Y.Min = 0
	}
	legend.Top, legend.Left = true, true
	legend.TextStyle.Font.Size, legend.Padding = vg.Points(8), vg.Points(3)
	canvas.Add(plotter.NewGrid())
	for i, l := range p.lines {
		if len(l.points) == 0 {
			continue
		}
		line, points, err := plotter.NewLinePoints(l.points)
		if err != nil {
			return err
		}
		line.Color, points.Color = colors[i%len(colors)], colors[i%len(colors)]
		line.Width = vg.Points(1.5)
		if i >= len(colors) {
			line.Dashes = []vg.Length{vg.Points(5), vg.Points(3)}
		}
		canvas.Add(line, points)
		legend.Add(l.name, line, points)
	}
	file, err := draw.NewFormattedCanvas(plotWidth, plotHeight, strings.TrimPrefix(filepath.Ext(name), "."))
	if err != nil {
		return err
	}
	whole := draw.New(file)
	canvas.Draw(draw.Crop(whole, 0, -legendWidth, 0, 0))
	legend.Draw(draw.Crop(whole, plotWidth-legendWidth+vg.Points(8), 0, 0, -vg.Points(20)))
	var text bytes.Buffer
	if _, err := file.WriteTo(&text); err != nil {
		return err
	}
	return os.WriteFile(name, text.Bytes(), 0o644)
}
