package main

import (
	"image/color"

	plotting "gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
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
	logX        bool // powers of ten have the same distance
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

// write draws the plot into a file; the name's end says in which format.
func (p plot) write(name string) error {
	canvas := plotting.New()
	canvas.Title.Text, canvas.X.Label.Text, canvas.Y.Label.Text = p.title, p.x, p.y
	canvas.Y.Min = 0
	if p.logX {
		canvas.X.Scale, canvas.X.Tick.Marker = plotting.LogScale{}, plotting.LogTicks{}
	}
	canvas.Legend.Top = true
	canvas.Add(plotter.NewGrid())
	for i, l := range p.lines {
		line, points, err := plotter.NewLinePoints(l.points)
		if err != nil {
			return err
		}
		line.Color, points.Color = colors[i%len(colors)], colors[i%len(colors)]
		line.Width = vg.Points(1.5)
		canvas.Add(line, points)
		canvas.Legend.Add(l.name, line, points)
	}
	return canvas.Save(16*vg.Centimeter, 10*vg.Centimeter, name)
}
