"""Reading `claims:`: typed models that pydantic validates, and the faults that a type cannot see."""
