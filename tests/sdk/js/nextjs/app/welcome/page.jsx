export default function Welcome() {
  return <h1>The new home</h1>;
}
