"""All fits of a campaign as an HTML table that can be sorted and filtered; no other files."""

import html

import numpy as np

# Columns that are shown where a campaign has them, first to last.
_COLUMNS = (
    "galaxy", "emulator", "repeat", "state", "zred", "zred_p50", "bands", "chi2", "n_eff",
    "logmass_p50", "log_stellar_mass_p50", "logzsol_p50", "dust2_p50", "log_sfr_100_p50",
    "mass_weighted_age_p50", "verdict", "problems",
)  # fmt: skip

_SCRIPT = """
<script>
const table = document.getElementById("fits"), body = table.tBodies[0];
const all = Array.from(body.rows), filters = table.tHead.querySelectorAll("input");
table.tHead.rows[0].querySelectorAll("th").forEach((head, i) => {
  let up = true;
  head.onclick = () => {
    const key = row => row.cells[i].textContent.trim();
    const number = text => text === "" ? Infinity : Number(text);
    const numeric = all.every(row => !isNaN(Number(key(row))));
    const order = numeric ? (a, b) => number(key(a)) - number(key(b))
                          : (a, b) => key(a).localeCompare(key(b));
    all.sort((a, b) => up ? order(a, b) : order(b, a));
    up = !up;
    all.forEach(row => body.appendChild(row));
  };
});
function matches(text, wanted) {
  const range = wanted.match(/^([<>]=?)\\s*(-?[\\d.eE+-]+)$/);
  if (!range) return text.toLowerCase().includes(wanted.toLowerCase());
  if (text === "") return false;
  const [value, limit] = [Number(text), Number(range[2])];
  return {"<": value < limit, "<=": value <= limit, ">": value > limit, ">=": value >= limit}[range[1]];
}
filters.forEach(input => input.oninput = () => {
  let shown = 0;
  all.forEach(row => {
    const fits = Array.from(filters).every((f, i) =>
      f.value.trim() === "" || matches(row.cells[i].textContent.trim(), f.value.trim()));
    row.hidden = !fits;
    shown += fits;
  });
  document.getElementById("shown").textContent = shown;
});
</script>
"""  # noqa: E501


def fit_table(table, most=5000):
    """HTML of the fits' table.

    Parameters
    ----------
    table : astropy.table.Table
        ``Results.table`` of a campaign.
    most : int
        Rows beyond these are left to the tables' files.

    Returns
    -------
    str
    """
    names = [n for n in _COLUMNS if n in table.colnames]
    head = "".join(f'<th title="sort by {n}">{n.removesuffix("_p50")}</th>' for n in names)
    inputs = "".join(f'<th><input size="6" aria-label="filter {n}"></th>' for n in names)
    rows = []
    for row in table[:most]:
        cells = (_cell(row[n]) for n in names)
        rows.append("<tr>" + "".join(cells) + "</tr>")
    number = min(len(table), most)
    more = f" The first {most} of {len(table)} are here; results.fits has all." if (
        len(table) > most
    ) else ""  # fmt: skip
    return (
        f'<p><span id="shown">{number}</span> of {number} fits. Click a column\'s name to sort; '
        f"type a text, or a limit such as &gt;0.5, to filter.{more}</p>"
        f'<div style="overflow-x: auto"><table id="fits"><thead><tr>{head}</tr><tr>{inputs}</tr>'
        f"</thead><tbody>{''.join(rows)}</tbody></table></div>{_SCRIPT}"
    )


def _cell(value):
    if np.ma.is_masked(value):
        return "<td></td>"
    if isinstance(value, str | bytes | np.str_):
        return f"<td>{html.escape(str(value))}</td>"
    text = f"{value:.5g}" if np.issubdtype(type(value), np.floating) else str(value)
    return f'<td class="n">{"" if text == "nan" else text}</td>'
