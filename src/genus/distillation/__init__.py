"""Train a student to have a teacher's distribution, by KL(student || teacher) on its own draws; so is variational inference."""

from genus.distillation.distiller import Distillation, Distiller, Teacher
from genus.distillation.functions import distill, distillation_refusal

__all__ = ["Distillation", "Distiller", "Teacher", "distill", "distillation_refusal"]
