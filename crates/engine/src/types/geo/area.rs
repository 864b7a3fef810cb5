//! The cells to look through for what lies in a shape: the one in the middle, and those of its eight neighbors that the
//! shape reaches.
//!
//! How large cells are is chosen so that nine of them are enough. The choice and the order are those of Redis, since they
//! are the order of results that nobody has sorted, and say which come first where a search stops early. Where Redis is
//! mistaken, near the poles, we are too.

use super::hash::{Cell, STEPS_MAX};
use super::sphere::{Point, Shape};

/// Half the width of a square map of the world, in meters.
const MAP_METERS: f64 = 20_037_726.37;

/// Columns to the east and rows to the north, in the order in which cells are looked through.
const ORDER: [(i32, i32); 9] = [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)];

/// How often to halve the map so that a cell is larger than the shape.
fn steps_for(reach: f64, latitude: f64) -> u32 {
    if reach == 0.0 {
        return STEPS_MAX;
    }
    let mut steps = 1;
    let mut meters = reach;
    while meters < MAP_METERS {
        meters *= 2.0;
        steps += 1;
    }
    // Cells are narrower near the poles.
    let latitude = latitude.abs();
    let fewer = 2 + i32::from(latitude > 66.0) + i32::from(latitude > 80.0);
    (steps - fewer).clamp(1, STEPS_MAX as i32) as u32
}

/// The cells that cover a shape, in the order in which to look through them.
pub(super) fn cells(center: Point, shape: Shape) -> Vec<Cell> {
    let reached = center.bounds(shape);
    let mut steps = steps_for(shape.reach(), center.latitude);
    let mut middle = Cell::around(center, steps);
    let falls_short = middle.neighbor(0, 1).bounds().north < reached.north
        || middle.neighbor(0, -1).bounds().south > reached.south
        || middle.neighbor(1, 0).bounds().east < reached.east
        || middle.neighbor(-1, 0).bounds().west > reached.west;
    if steps > 1 && falls_short {
        steps -= 1;
        middle = Cell::around(center, steps);
    }
    let inside = middle.bounds();
    // With four cells in all, each neighbor is one of them.
    let skips = |columns, rows| {
        steps >= 2
            && (rows < 0 && inside.south < reached.south
                || rows > 0 && inside.north > reached.north
                || columns < 0 && inside.west < reached.west
                || columns > 0 && inside.east > reached.east)
    };
    let mut cells: Vec<Cell> = Vec::with_capacity(ORDER.len());
    for (columns, rows) in ORDER {
        let cell = middle.neighbor(columns, rows);
        // On a map of few cells neighbors are the same cell, one after the other. Redis never compares with the middle.
        let repeated = cells.len() > 1 && cells.last() == Some(&cell);
        if !skips(columns, rows) && !repeated {
            cells.push(cell);
        }
    }
    cells
}
