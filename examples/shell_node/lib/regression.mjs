// What the model looks at: the weather, the season on a circle, and a column for each location in place of an intercept.
export function inputs(row, locations) {
  const season = (2 * Math.PI * Number(row.time_period.slice(5, 7))) / 12;
  const weather = [Number(row.rainfall) / 100, Number(row.mean_temperature) / 10, Math.sin(season), Math.cos(season)];
  return [...weather, ...locations.map((location) => Number(location === row.location))];
}

export function dot(a, b) {
  return a.reduce((sum, value, i) => sum + value * b[i], 0);
}

// The coefficients b that minimize |x b - y|² + ridge |b|².
export function ridgeRegression(x, y, ridge) {
  const columns = x[0].map((_, j) => x.map((row) => row[j]));
  const matrix = columns.map((left, i) => columns.map((right, j) => dot(left, right) + (i === j ? ridge : 0)));
  return solve(matrix, columns.map((column) => dot(column, y)));
}

// Gauss-Jordan elimination; the matrix must be positive definite.
function solve(matrix, right) {
  const rows = matrix.map((row, i) => [...row, right[i]]);
  for (let i = 0; i < rows.length; i++) {
    const pivot = rows[i].map((value) => value / rows[i][i]);
    rows.forEach((row, k) => {
      if (k !== i) rows[k] = row.map((value, j) => value - row[i] * pivot[j]);
    });
    rows[i] = pivot;
  }
  return rows.map((row) => row.at(-1));
}
