// The tools of this skill: one function for each export of `wit/world.wit`.

export function greet(name, times) {
  const who = name.trim();
  // What is thrown that is no Error fails the step with this value; an Error would be a trap.
  if (who === '') throw 'nobody to greet';
  return Array(times ?? 1).fill(`Good day, ${who}.`).join(' ');
}
