// What a pressed key is called: what it says, then where it is. So letters work on every layout, and digits where they
// need Shift.
export function names(event) {
  const place = /^(?:Key|Digit)(.)$/.exec(event.code);
  const said = event.key.toLowerCase();
  return [said, ...(place && !/^[a-z0-9?]$/.test(said) ? [place[1].toLowerCase()] : [])];
}
